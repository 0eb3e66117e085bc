import assert from "node:assert/strict";
import { test } from "node:test";
import { layoutDay } from "../../../console/layout.js";
import { peopleOf, watchersByTalk } from "../../../console/people.js";
import { changeWords, initials, join } from "../../../console/programme.js";
import { fold, highlight, matches, snippet, terms } from "../../../console/search.js";
import { paragraphs, safeAddress } from "../../../console/text.js";
import { ago, chooseZone, duration, Times } from "../../../console/time.js";

const MINUTE = 60_000;
const at = (clock, day = "2019-08-21") => Date.parse(`${day}T${clock}:00+02:00`);
const slot = (id, room, from, to) => ({ id, room, start: at(from), end: at(to) });
const scale = { per_minute: 2, least: 80, pause_minutes: 45, pause: 40 };

test("times are said in the zone of the event", () => {
  const times = new Times(chooseZone("Europe/Berlin", "UTC").zone);
  assert.equal(times.clock(Date.parse("2019-08-21T14:00:00.000Z")), "16:00");
  assert.equal(times.clock(Date.parse("2019-01-21T14:00:00.000Z")), "15:00");
});

test("without a zone of its own an event is shown in the reader's, and the page can say so", () => {
  assert.deepEqual(chooseZone("", "Asia/Tokyo"), { zone: "Asia/Tokyo", named: false });
  assert.deepEqual(chooseZone(null, "Asia/Tokyo"), { zone: "Asia/Tokyo", named: false });
  assert.deepEqual(chooseZone("Mars/Olympus", "Asia/Tokyo"), { zone: "Asia/Tokyo", named: false });
});

test("a talk after midnight belongs to the evening before, until four", () => {
  const times = new Times("Europe/Berlin");
  assert.equal(times.day(at("01:30", "2019-08-22")), "2019-08-21");
  assert.equal(times.day(at("03:59", "2019-08-22")), "2019-08-21");
  assert.equal(times.day(at("04:00", "2019-08-22")), "2019-08-22");
  assert.deepEqual(times.tab("2019-08-21"), ["Wed", "21 Aug"]);
});

test("durations and ages are said in words", () => {
  assert.equal(duration(45), "45 min");
  assert.equal(duration(120), "2 h");
  assert.equal(duration(135), "2 h 15 min");
  assert.equal(ago(0, 10_000), "just now");
  assert.equal(ago(0, 5 * MINUTE), "5 min ago");
});

test("time is to scale where something happens and folded where nothing does", () => {
  const plan = layoutDay([slot("a", "x", "10:00", "11:00"), slot("b", "x", "13:00", "14:00")], ["x"], scale);
  assert.deepEqual(plan.places.map(({ top, height }) => [top, height]), [[0, 120], [160, 120]]);
  assert.deepEqual(plan.pauses.map(({ minutes, height }) => [minutes, height]), [[120, 40]]);
  assert.equal(plan.height, 280);
  assert.equal(plan.at(at("10:30")), 60);
  assert.equal(plan.at(at("13:30")), 220);
});

test("a short break is not folded and a short talk is stretched until it can be read", () => {
  const plan = layoutDay([slot("a", "x", "10:00", "10:10"), slot("b", "y", "10:00", "11:00"), slot("c", "x", "11:15", "12:00")], ["x", "y"], scale);
  const [a, b, c] = plan.places;
  assert.equal(a.height, 80);
  assert.equal(b.height, 180); // ten stretched minutes and fifty to scale
  assert.equal(c.top - (b.top + b.height), 30);
  assert.deepEqual([a.column, b.column], [0, 1]);
});

test("talks that overlap in a room stand side by side", () => {
  const plan = layoutDay([slot("a", "x", "10:00", "12:00"), slot("b", "x", "11:00", "13:00"), slot("c", "x", "12:00", "13:00"), slot("d", "x", "14:00", "15:00")], ["x"], scale);
  assert.deepEqual(plan.places.map(({ lane, lanes }) => [lane, lanes]), [[0, 2], [1, 2], [0, 2], [0, 1]]);
});

test("an empty day has a height of nothing", () => {
  const plan = layoutDay([], ["x"], scale);
  assert.deepEqual([plan.places, plan.height], [[], 0]);
});

test("the search does not mind case, accents and the order of words", () => {
  const haystack = fold("Zürich – Straße der Müller");
  assert.ok(matches(haystack, terms("MULLER zurich")));
  assert.ok(matches(haystack, terms("strasse")));
  assert.ok(!matches(haystack, terms("zurich bern")));
  assert.deepEqual(terms("   "), []);
});

test("hits are marked where they stand in the original", () => {
  assert.deepEqual(highlight("Straße zur Größe", terms("strasse gro")), [
    { text: "Straße", hit: true }, { text: " zur ", hit: false }, { text: "Grö", hit: true }, { text: "ße", hit: false },
  ]);
  assert.deepEqual(highlight("a😀b", terms("😀")), [{ text: "a", hit: false }, { text: "😀", hit: true }, { text: "b", hit: false }]);
  assert.deepEqual(highlight("plain", []), [{ text: "plain", hit: false }]);
  assert.equal(highlight("", terms("x")).map(({ text }) => text).join(""), "");
});

test("a snippet stands around its hit", () => {
  const text = `${"word ".repeat(40)}needle ${"word ".repeat(40)}`;
  const cut = snippet(text, ["needle"], 20);
  assert.match(cut, /^… .*needle.* …$/);
  assert.ok(cut.length < 60);
  assert.equal(snippet(text, ["nothing"]), "");
});

test("simple markup becomes plain paragraphs and only http addresses become links", () => {
  const found = paragraphs('<p>One &amp; <b>two</b></p>\r\n<ul><li>x</li><li>y</li></ul>See [docs](https://a.example/b) and https://c.example/d.');
  assert.deepEqual(found.map((pieces) => pieces.map(({ text }) => text).join("")), ["One & two", "• x\n• y", "See docs and https://c.example/d."]);
  assert.deepEqual(found[2].map(({ href }) => href).filter(Boolean), ["https://a.example/b", "https://c.example/d"]);
  assert.deepEqual(paragraphs('<a href="javascript:alert(1)">click</a>'), [[{ text: "click" }]]);
  assert.deepEqual(paragraphs("[x](javascript:alert(1))")[0].some(({ href }) => href), false);
  assert.equal(safeAddress("javascript:alert(1)"), null);
  assert.equal(safeAddress("https://a.example/"), "https://a.example/");
});

test("what is no markup stays as it was written", () => {
  const text = (/** @type {string} */ source) => paragraphs(source).flat().map((piece) => piece.text).join("");
  assert.equal(text("if a < b && c > d"), "if a < b && c > d");
  assert.equal(text("<script>alert(1)</script>"), "<script>alert(1)</script>");
  assert.equal(text("&lt;script&gt;"), "<script>");
  assert.deepEqual(paragraphs(null), []);
});

test("a talk is joined from its records and the programme is in order", () => {
  const times = new Times("Europe/Berlin");
  const joined = join({
    sessions: [
      { id: "s2", title: "Second", starts_at: "2019-08-21T12:00:00.000Z", ends_at: null, location_id: "r1", track_id: "gone" },
      { id: "s3", title: "Nowhere", starts_at: null, ends_at: null },
      { id: "s1", title: "First", starts_at: "2019-08-21T10:00:00.000Z", ends_at: "2019-08-21T10:45:00.000Z", location_id: "r1", track_id: "t1" },
    ],
    rooms: [{ id: "r2", name: "Room 10", sort: null }, { id: "r1", name: "Room 2", sort: null }],
    tracks: [{ id: "t1", name: "Science", sort: 1 }],
    persons: new Map([["p1", { id: "p1", name: "Zoe" }], ["p2", { id: "p2", name: "Ann" }]]),
    presenters: [{ session_id: "s1", person_id: "p1" }, { session_id: "s1", person_id: "p2" }, { session_id: "s1", person_id: "unseen" }],
  }, times);
  assert.deepEqual(joined.talks.map(({ id }) => id), ["s1", "s2", "s3"]);
  assert.deepEqual(joined.days, ["2019-08-21", ""]);
  assert.deepEqual(joined.rooms.map(({ name }) => name), ["Room 2", "Room 10"]);
  assert.deepEqual(joined.talks[0].speakers, ["Ann", "Zoe"]);
  assert.equal(joined.talks[0].track.name, "Science");
  assert.equal(joined.talks[1].end - joined.talks[1].start, 30 * MINUTE);
  assert.equal(joined.talks[1].track, null);
  assert.ok(matches(joined.talks[0].haystack, terms("zoe first")));
});

test("names become letters and changes become words", () => {
  assert.equal(initials("Ada Brandt"), "AB");
  assert.equal(initials("jinxx"), "J");
  assert.equal(initials("  "), "?");
  assert.equal(changeWords({ title: "a", location_id: 1 }, { title: "b", location_id: 2 }), "new title, new room");
  assert.equal(changeWords({ slug: "a" }, { slug: "b" }), "details changed");
});

test("people on a page have colours that differ, the same on every page", () => {
  const members = Array.from({ length: 10 }, (_, index) => ({
    kind: "user", rec: `r${index}`, name: `Person ${index}`, since: `2026-11-21T09:00:0${index}.000Z`, status: "active", sessions: [],
  }));
  const people = peopleOf(members);
  assert.equal(new Set([...people.values()].map(({ hue }) => hue)).size, 10);
  assert.deepEqual(Object.fromEntries(peopleOf([...members].reverse())), Object.fromEntries(people));
  assert.equal(peopleOf(members.slice(0, 3)).get("user:r2")?.hue, people.get("user:r2")?.hue);
});

const talk = (rec) => ({ type: "event_session", rec });

test("who has a talk open is known by talk, this page left out", () => {
  const member = { kind: "user", rec: "r1", name: "Ada Brandt", since: "", status: "active", sessions: [
    { session: "s1", state: { selection: talk("t1"), editing: null } },
    { session: "s2", state: { selection: talk("t1"), editing: { ...talk("t1"), field: "title" } } },
    { session: "s3", state: { selection: talk("t2") } }, { session: "mine", state: { selection: talk("t3") } }, { session: "s4", state: null },
    { session: "s5", state: { selection: 7, editing: [] } }, { session: "s6", state: { selection: { type: "event", rec: "t4" } } },
  ] };
  const found = watchersByTalk([member], peopleOf([member]), "mine");
  assert.deepEqual([...found].map(([talk, people]) => [talk, people.map(({ letters, editing }) => [letters, editing])]), [["t1", [["AB", true]]], ["t2", [["AB", false]]]]);
});
