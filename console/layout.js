/**
 * Where the cards of a day stand: columns are rooms, downwards is time. Pure: numbers only.
 *
 * Time is to scale where something happens, stretched where a short session would not be readable, and folded
 * where nothing happens in any room.
 */

/** @typedef {{id: string, room: string, start: number, end: number}} Slot moments in milliseconds */
/** @typedef {{id: string, column: number, top: number, height: number, lane: number, lanes: number}} Place */

export const SCALE = {
  per_minute: 1.85, // pixels
  least: 104, // pixels, the height of the smallest card
  pause_minutes: 45, // an empty stretch this long is folded
  pause: 44, // pixels of a folded stretch
};

const MINUTE = 60_000;
const LANE = 0.75; // of a column: what one of several sessions side by side needs

/**
 * Lay a day out.
 * @param {Slot[]} slots
 * @param {string[]} rooms ids in the order of the columns
 * @param {typeof SCALE} [scale]
 */
export function layoutDay(slots, rooms, scale = SCALE) {
  const edges = [...new Set(slots.flatMap(({ start, end }) => [start, end]))].sort((a, b) => a - b);
  const index = new Map(edges.map((edge, place) => [edge, place]));
  const spans = edges.slice(1).map((edge, place) => ({
    minutes: (edge - edges[place]) / MINUTE,
    busy: slots.some(({ start, end }) => start <= edges[place] && end >= edge),
    height: 0,
  }));
  for (const span of spans) {
    const folded = !span.busy && span.minutes >= scale.pause_minutes;
    span.height = folded ? scale.pause : span.minutes * scale.per_minute;
  }
  const shortestFirst = [...slots].sort((a, b) => a.end - a.start - (b.end - b.start));
  for (const { start, end } of shortestFirst) {
    const own = spans.slice(index.get(start), index.get(end));
    const height = own.reduce((sum, span) => sum + span.height, 0);
    if (height >= scale.least) continue;
    for (const span of own) span.height *= scale.least / height;
  }
  const tops = [0];
  for (const span of spans) tops.push(tops[tops.length - 1] + span.height);

  /** Pixels from the top at a moment of this day. @param {number} moment */
  const at = (moment) => {
    const after = edges.findIndex((edge) => edge >= moment);
    if (after <= 0) return after === 0 ? 0 : tops[tops.length - 1];
    const part = (moment - edges[after - 1]) / (edges[after] - edges[after - 1]);
    return tops[after - 1] + part * spans[after - 1].height;
  };

  const lanes = lanesOf(slots);
  const places = slots.map((slot) => {
    const top = tops[/** @type {number} */ (index.get(slot.start))];
    const bottom = tops[/** @type {number} */ (index.get(slot.end))];
    return { id: slot.id, column: rooms.indexOf(slot.room), top, height: bottom - top, ...(lanes.get(slot.id) ?? { lane: 0, lanes: 1 }) };
  });
  const pauses = spans.flatMap((span, place) => (
    !span.busy && span.minutes >= scale.pause_minutes
      ? [{ from: edges[place], to: edges[place + 1], top: tops[place], height: span.height, minutes: span.minutes }] : []
  ));
  return { places, pauses, at, height: tops[tops.length - 1], from: edges[0], to: edges[edges.length - 1] };
}

/**
 * How wide each room's column is, in columns of a room in which nothing overlaps: sessions side by side stay readable.
 * @param {Place[]} places
 * @param {number} rooms
 * @returns {{wide: number[], from: number[], units: number}} `from`: where a column begins · `units`: all together
 */
export function columnsOf(places, rooms) {
  const wide = Array.from({ length: rooms }, (_none, room) => (
    Math.max(1, ...places.filter(({ column }) => column === room).map(({ lanes }) => lanes * LANE))
  ));
  const from = wide.map((_width, room) => wide.slice(0, room).reduce((sum, width) => sum + width, 0));
  return { wide, from, units: wide.reduce((sum, width) => sum + width, 0) };
}

/**
 * Sessions of one room that overlap stand side by side.
 * @param {Slot[]} slots
 * @returns {Map<string, {lane: number, lanes: number}>}
 */
function lanesOf(slots) {
  const places = new Map();
  for (const room of new Set(slots.map((slot) => slot.room))) {
    const own = slots.filter((slot) => slot.room === room).sort((a, b) => a.start - b.start || b.end - a.end);
    /** @type {{ends: number[], places: {lane: number, lanes: number}[], until: number}} */
    let group = { ends: [], places: [], until: -Infinity };
    for (const slot of own) {
      if (slot.start >= group.until) group = { ends: [], places: [], until: slot.end };
      const free = group.ends.findIndex((end) => end <= slot.start);
      const lane = free === -1 ? group.ends.length : free;
      group.ends[lane] = slot.end;
      group.until = Math.max(group.until, slot.end);
      const place = { lane, lanes: 0 };
      group.places.push(place);
      for (const other of group.places) other.lanes = group.ends.length;
      places.set(slot.id, place);
    }
  }
  return places;
}
