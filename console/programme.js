/**
 * The programme of one event, joined from its records: what a talk is to a reader. Pure: records in, talks out.
 */

import { fold } from "./search.js";

/**
 * @typedef {object} Talk
 * @property {string} id
 * @property {any} record the session's record
 * @property {string} title
 * @property {string} subtitle
 * @property {string[]} speakers
 * @property {any | null} room
 * @property {any | null} track
 * @property {number} hue of the track's colour, in degrees
 * @property {number | null} start
 * @property {number} end never before `start`
 * @property {string} day "2019-08-21"; empty without a time
 * @property {string} haystack folded text for the search
 */

/** Colours that can be told apart, as hues in degrees. */
export const HUES = [190, 285, 55, 350, 140, 245, 95, 320, 25, 165];
const NEUTRAL_HUE = 250;
const HALF_HOUR = 1_800_000;

const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** The order people gave, then the name. @param {any} a @param {any} b */
const bySort = (a, b) => (a.sort ?? Infinity) - (b.sort ?? Infinity) || words.compare(a.name, b.name);

/**
 * Join the records of an event.
 * @param {{sessions: Iterable<any>, rooms: Iterable<any>, tracks: Iterable<any>, persons: Map<string, any>,
 *   presenters: Iterable<any>}} records
 * @param {import("./time.js").Times} times
 */
export function join({ sessions, rooms, tracks, persons, presenters }, times) {
  const sortedTracks = [...tracks].sort(bySort).map((record, place) => ({ ...record, hue: HUES[place % HUES.length] }));
  const sortedRooms = [...rooms].sort(bySort);
  const trackById = new Map(sortedTracks.map((track) => [track.id, track]));
  const roomById = new Map(sortedRooms.map((room) => [room.id, room]));
  /** @type {Map<string, string[]>} */
  const speakers = new Map();
  for (const { session_id, person_id } of presenters) {
    const name = persons.get(person_id)?.name;
    if (name !== undefined) speakers.set(session_id, [...(speakers.get(session_id) ?? []), name]);
  }
  /** @type {Talk[]} */
  const talks = [...sessions].map((record) => {
    const track = trackById.get(record.track_id) ?? null;
    const start = record.starts_at ? Date.parse(record.starts_at) : null;
    const stated = record.ends_at ? Date.parse(record.ends_at) : 0;
    const names = (speakers.get(record.id) ?? []).sort(words.compare);
    return {
      id: record.id,
      record,
      title: record.title ?? "",
      subtitle: record.subtitle ?? "",
      speakers: names,
      room: roomById.get(record.location_id) ?? null,
      track,
      hue: track?.hue ?? NEUTRAL_HUE,
      start,
      end: start === null ? 0 : stated > start ? stated : start + HALF_HOUR,
      day: start === null ? "" : times.day(start),
      haystack: fold([record.title, record.subtitle, names.join("\n"), record.abstract, record.description].join("\n")),
    };
  });
  const place = new Map(sortedRooms.map((room, index) => [room.id, index]));
  talks.sort((a, b) => (
    (a.start ?? Infinity) - (b.start ?? Infinity)
    || (place.get(a.room?.id) ?? Infinity) - (place.get(b.room?.id) ?? Infinity)
    || words.compare(a.title, b.title)
  ));
  const days = [...new Set(talks.map(({ day }) => day))].sort((a, b) => (a === "" ? 1 : b === "" ? -1 : a < b ? -1 : 1));
  return { talks, days, rooms: sortedRooms, tracks: sortedTracks, byId: new Map(talks.map((talk) => [talk.id, talk])) };
}

/** A steady number for a text (FNV-1a). @param {string} text */
export function hashOf(text) {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193) >>> 0;
  return hash;
}

/** "Ada Brandt" → "AB" @param {string} name */
export function initials(name) {
  const parts = name.trim().split(/[\s._-]+/).filter(Boolean);
  const picked = parts.length > 1 ? [parts[0], parts[parts.length - 1]] : parts;
  return picked.map((part) => [...part][0].toUpperCase()).join("") || "?";
}

/**
 * What a change of a session's record did, in a few words.
 * @param {any} before
 * @param {any} after
 */
export function changeWords(before, after) {
  const changed = (/** @type {string[]} */ ...fields) => fields.some((field) => before[field] !== after[field]);
  const said = [];
  if (changed("title")) said.push("new title");
  if (changed("starts_at", "ends_at")) said.push("new time");
  if (changed("location_id")) said.push("new room");
  if (changed("track_id")) said.push("new track");
  if (changed("subtitle", "abstract", "description")) said.push("new text");
  return said.join(", ") || "details changed";
}
