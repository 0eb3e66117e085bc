/**
 * Moments as an event's visitors read them. Pure: milliseconds in, words out.
 *
 * Zone: the event's own IANA name; where it has none, or one this browser does not know, the browser's zone, and
 * the page says so. A programme day ends at four in the morning: a talk at 01:30 belongs to the evening before.
 */

export const DAY_ENDS_HOUR = 4;

const HOUR = 3_600_000;
const LOCALE = "en-GB";

/**
 * Choose the zone for an event's times.
 * @param {string | null | undefined} timezone of the event
 * @param {string} [own] the browser's zone
 * @returns {{zone: string, named: boolean}} `named`: the event says it itself
 */
export function chooseZone(timezone, own = Intl.DateTimeFormat().resolvedOptions().timeZone) {
  try {
    if (timezone) return { zone: new Intl.DateTimeFormat(LOCALE, { timeZone: timezone }).resolvedOptions().timeZone, named: true };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // a name this browser does not know
  }
  return { zone: own, named: false };
}

/** A date without a time, "2019-08-21", as its UTC midnight. @param {string} date */
const midnight = (date) => Date.parse(`${date}T00:00:00Z`);

export class Times {
  /** @param {string} zone */
  constructor(zone) {
    const format = (/** @type {Intl.DateTimeFormatOptions} */ options, timeZone = zone) => (
      new Intl.DateTimeFormat(LOCALE, { timeZone, ...options })
    );
    this.zone = zone;
    this.clocks = format({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    this.dates = format({ year: "numeric", month: "2-digit", day: "2-digit" });
    this.weekdays = format({ weekday: "short" }, "UTC");
    this.daysOfMonth = format({ day: "numeric", month: "short" }, "UTC");
    this.longDates = format({ weekday: "long", day: "numeric", month: "long" }, "UTC");
    this.spans = format({ day: "numeric", month: "long", year: "numeric" }, "UTC");
  }

  /** "16:00" @param {number} moment */
  clock(moment) {
    return this.clocks.format(moment);
  }

  /** The programme day a moment belongs to, "2019-08-21". @param {number} moment */
  day(moment) {
    const parts = Object.fromEntries(this.dates.formatToParts(moment - DAY_ENDS_HOUR * HOUR).map(({ type, value }) => [type, value]));
    return `${parts.year}-${parts.month}-${parts.day}`;
  }

  /** A day's tab: `["Wed", "21 Aug"]`. @param {string} day */
  tab(day) {
    return [this.weekdays.format(midnight(day)), this.daysOfMonth.format(midnight(day))];
  }

  /** "Wednesday 21 August" @param {string} day */
  long(day) {
    return this.longDates.format(midnight(day)).replace(",", "");
  }

  /** "21–26 August 2019" @param {string} from @param {string} to */
  span(from, to) {
    return this.spans.formatRange(midnight(from), midnight(to));
  }

  /** The full hours between two moments, as `{moment, label}`. @param {number} from @param {number} to */
  hours(from, to) {
    const minutes = Number(this.clock(from).slice(3));
    const hours = [];
    for (let moment = from - minutes * 60_000; moment <= to; moment += HOUR) {
      if (moment >= from) hours.push({ moment, label: this.clock(moment) });
    }
    return hours;
  }
}

/** "45 min", "1 h 30 min" @param {number} minutes */
export function duration(minutes) {
  const hours = Math.floor(minutes / 60);
  const rest = Math.round(minutes % 60);
  return [hours > 0 ? `${hours} h` : "", rest > 0 ? `${rest} min` : ""].filter(Boolean).join(" ") || "0 min";
}

/** "just now", "3 min ago", "2 h ago", "5 Aug" @param {number} moment @param {number} now */
export function ago(moment, now) {
  const seconds = Math.max(0, (now - moment) / 1000);
  if (seconds < 45) return "just now";
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min ago`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h ago`;
  return new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short" }).format(moment);
}

/** "Etc/GMT-1" → "UTC+1": such a name counts westwards, which nobody expects; other names stay. @param {string} zone */
export function zoneName(zone) {
  const [, sign, hours] = /^Etc\/GMT(?:([+-])(\d+))?$/.exec(zone) ?? [];
  if (sign !== undefined && Number(hours) !== 0) return `UTC${sign === "-" ? "+" : "−"}${hours}`;
  return /^(Etc\/)?(GMT[+-]?0?|UCT|UTC|Universal|Zulu|Greenwich)$/.test(zone) ? "UTC" : zone;
}

/** The zone in words: "Europe/Berlin", or that it is the reader's own. @param {{zone: string, named: boolean}} chosen */
export const zoneWords = ({ zone, named }) => (
  named ? `Times in ${zoneName(zone)}` : `Times in your own zone (${zoneName(zone)}): the event names none`
);
