/**
 * The page of one event: what is chosen on it (day, search, track, open talk), and drawing it all from the store.
 */

import { h, mark, place, setText } from "./dom.js";
import { Drawer } from "./drawer.js";
import { downloadFile, drawPanel } from "./panel.js";
import { TalkLock } from "./locking.js";
import { keyOf, peopleOf, personOf, showRoster, watchersByTalk } from "./people.js";
import { matches, terms } from "./search.js";
import { command, whereToRun } from "./signin.js";
import { Store } from "./store.js";
import { insideSentence, titleWords } from "./text.js";
import { ago, zoneWords } from "./time.js";
import { Timetable } from "./timetable.js";

const find = (/** @type {string} */ selector) => /** @type {any} */ (document.querySelector(selector));
const narrow = matchMedia("(max-width: 999px)"); // the same width as in console.css

export class EventPage {
  /** the record of the event on the page; null = none chosen */
  event = /** @type {any} */ (null);

  /** whether the hub has said which events there are */
  known = false;

  /** @type {Set<string>} what this session's role may do to talks, such as "event_session.update"; empty until told */
  rights = new Set();

  /** @type {Store | null} */
  store = null;

  /** @type {ReturnType<Store["programme"]> | null} what the store holds, joined; null = join again */
  #programme = null;

  /** @type {import("../clients/javascript/channel.js").Channel | null} */
  #channel = null;

  /** @type {Element | null} the day that was brought into sight */
  #shownTab = null;

  /** @type {{event: string, query: string, talks: Set<string>}} what the hub found last, by words in any text and in tags */
  #found = { event: "", query: "", talks: new Set() };

  /** @type {ReturnType<typeof setTimeout> | undefined} a question to the hub that is due */
  #asking;

  day = /** @type {string | null} */ (null);
  query = "";
  track = /** @type {string | null} */ (null);
  talk = /** @type {string | null} */ (null);

  /** @param {import("../clients/javascript/index.js").Hub} hub @param {ReturnType<import("./toast.js")["toaster"]>} toasts */
  constructor(hub, toasts) {
    this.hub = hub;
    this.toasts = toasts;
    this.timetable = new Timetable(find(".programme"), (id) => this.open(id));
    this.lock = new TalkLock(hub, { changed: () => this.draw(), lost: (holder) => this.#lostLock(holder) });
    this.drawer = new Drawer(find(".drawer"), {
      record: () => this.store?.session(this.talk ?? ""),
      save: (id, title, if_version) => hub.update("event_session", id, { title }, { if_version }),
      fetch: (id) => hub.get("event_session", id),
      online: () => hub.state === "online",
      may_edit: () => this.rights.has("event_session.update"),
      editing: () => this.#tell(),
      hold: (id, steal) => this.lock.hold(id, steal),
      release: () => this.lock.release(),
      other: () => this.#otherEditor(),
      failed: toasts.error,
      nameOf: (user) => this.#nameOf(user),
      close: () => this.open(null),
    });
    this.tabs = find(".days");
    this.search = find("[data-testid=search]");
    this.#listen();
    this.#readAddress();
    setInterval(() => this.draw(), 30_000); // "3 min ago" and the line of now
  }

  /** Show another event, or none. @param {any} event @param {boolean} [known] */
  choose(event, known = false) {
    this.known = known;
    const same = event !== null && this.event?.id === event.id;
    if (!same) this.#leaveTitle();
    this.event = event;
    this.#programme = null;
    if (!same) {
      this.store?.stop();
      this.#channel?.leave();
      this.store = null;
      this.#channel = null;
      if (event === null) this.drawer.show(null);
      else this.#follow(event.id);
    }
    this.draw();
  }

  /** What the hub says that this session may do. @param {string[]} permissions */
  allow(permissions) {
    this.rights = new Set(permissions);
    this.draw();
  }

  /** Nobody is signed in any more. */
  forget() {
    this.drawer.title.forget();
    this.rights.clear();
    this.choose(null);
  }

  /** @param {string} event */
  #follow(event) {
    this.#readAddress();
    if (new URLSearchParams(location.hash.slice(1)).get("event") !== event) Object.assign(this, { day: null, talk: null });
    this.track = null;
    this.store = new Store(this.hub, event, {
      changed: (flash) => {
        this.#programme = null;
        this.draw();
        this.timetable.flash(flash);
      },
      refused: this.toasts.error,
    });
    this.#channel = this.hub.join(`event:${event}`, this.#state());
    this.#channel.on("roster", () => this.draw());
    this.#channel.on("error", this.toasts.error);
    this.#channel.on("refused", this.toasts.error);
  }

  /** Open a talk in the drawer, or close it. @param {string | null} id */
  open(id) {
    if (id === this.talk) return;
    const before = this.talk;
    this.#leaveTitle();
    this.talk = id;
    this.remember(before === null);
    this.draw();
    this.#tell();
    if (id !== null) find(".drawer").focus({ preventScroll: true });
    else if (before !== null) this.#focusCard(before);
  }

  /** Where a reader goes on after the drawer: at the card of the talk, else at the programme. @param {string} talk */
  #focusCard(talk) {
    const card = this.timetable.find(talk)?.querySelector("button") ?? find(".programme");
    card.focus({ preventScroll: true });
  }

  /** Over a narrow page the drawer is all there is: nothing else takes the focus. @param {boolean} covered */
  #cover(covered) {
    for (const part of [".skip", ".bar", "main", ".panel"]) find(part).inert = covered;
    const drawer = find(".drawer");
    if (covered) drawer.setAttribute("aria-modal", "true");
    else drawer.removeAttribute("aria-modal");
    if (covered && !drawer.contains(document.activeElement) && !find(".toasts").contains(document.activeElement)) drawer.focus({ preventScroll: true });
  }

  /** Another talk or none is opened. */
  #leaveTitle() {
    if (this.drawer.title.leave()) this.toasts.note("Your unsaved title is kept: open the talk again to go on.");
  }

  /** Put what is chosen into the address. @param {boolean} [step] as a step that "back" undoes */
  remember(step = false) {
    const chosen = Object.entries({ event: this.event?.id, day: this.day, talk: this.talk }).filter(([, value]) => value);
    const address = `#${new URLSearchParams(/** @type {any} */ (chosen))}`;
    if (step) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
  }

  #readAddress() {
    const chosen = new URLSearchParams(location.hash.slice(1));
    this.day = chosen.get("day");
    this.talk = chosen.get("talk");
  }

  /** Tell the others what is open here. */
  #tell() {
    this.#channel?.setState(this.#state());
  }

  #state() {
    const selection = this.talk === null ? null : { type: "event_session", rec: this.talk };
    return { selection, editing: selection !== null && this.drawer.title.active ? { ...selection, field: "title" } : null };
  }

  /** Who else holds the lock of the open talk, as a person. @returns {import("./people.js").Editor | null} */
  #otherEditor() {
    const holder = this.lock.other;
    if (holder === null) return null;
    const person = peopleOf(this.#channel?.members ?? []).get(keyOf(holder)) ?? personOf(holder);
    return { ...person, mine: holder.kind === "user" && holder.rec === this.hub.session?.user };
  }

  /** Somebody took over, or nobody may edit this any more. @param {import("./locking.js").Holder | null} holder */
  #lostLock(holder) {
    const kept = this.drawer.title.leave();
    const who = holder === null ? "You cannot edit this title any more." : `${insideSentence(holder.name || "Somebody")} has taken over this title.`;
    this.toasts.note(kept ? `${who} What you typed is kept.` : who);
    this.draw();
  }

  /** @param {string | null} user */
  #nameOf(user) {
    const session = this.hub.session;
    if (user !== null && user === session?.user) return session.display?.user ?? "You";
    return this.#channel?.members.find(({ kind, rec }) => kind === "user" && rec === user)?.name ?? "Somebody";
  }

  #listen() {
    this.search.addEventListener("input", () => {
      this.query = this.search.value;
      this.draw();
      this.#showFound();
      clearTimeout(this.#asking);
      this.#asking = setTimeout(() => this.#ask(), 150);
    });
    this.search.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.clearSearch();
      this.search.blur();
    });
    document.addEventListener("keydown", (event) => {
      const typing = /** @type {Element} */ (event.target).closest?.("input, textarea, select");
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        this.search.focus();
        this.search.select();
      } else if (event.key === "Escape" && this.talk !== null) this.open(null);
    });
    this.tabs.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step === undefined) return;
      const tabs = [...this.tabs.children];
      const next = tabs[(tabs.findIndex(({ ariaSelected }) => ariaSelected === "true") + step + tabs.length) % tabs.length];
      next.click();
      next.focus();
    });
    addEventListener("popstate", () => {
      const before = this.talk;
      this.#readAddress();
      if (this.talk !== before) this.#leaveTitle();
      this.draw();
      this.#tell();
    });
    this.tabs.addEventListener("scroll", () => this.#hintTabs());
    new ResizeObserver(() => this.#hintTabs()).observe(this.tabs);
    narrow.addEventListener("change", () => this.draw());
  }

  /** Ask the hub as well: it knows words as all its clients do, and looks into what is not on the page. */
  async #ask() {
    const [event, query] = [this.event?.id, this.query.trim()];
    if (event === undefined || query === "" || query.length > 200 || this.hub.state !== "online") return;
    try {
      const { hits } = await this.hub.search(query, { types: ["event_session"], where: { event_id: event }, limit: 200 });
      this.#found = { event, query, talks: new Set(hits.map((/** @type {any} */ { record }) => record.id)) };
      if (this.query.trim() === query) this.draw();
    } catch (error) {
      if (/** @type {any} */ (error).path !== "q") this.toasts.error(error); // of signs alone the page has its own idea
    }
  }

  clearSearch() {
    this.query = "";
    this.search.value = "";
    this.draw();
  }

  /** Bring the first result into sight, wherever the page was scrolled to. */
  #showFound() {
    find(".programme").scrollTop = 0;
    const top = find(".strip").getBoundingClientRect().top - find(".bar").offsetHeight; // of a narrow page, which scrolls as a whole
    if (narrow.matches && top < 0) scrollBy({ top, behavior: "instant" });
  }

  /** Draw everything from what is known now. */
  draw() {
    const { store } = this;
    document.title = this.event?.title ? `${insideSentence(titleWords(this.event.title))} · Aether Hub` : "Aether Hub";
    const programme = store === null ? null : (this.#programme ??= store.programme(this.event.timezone));
    const members = this.#channel?.members ?? [];
    const people = peopleOf(members);
    const session = this.hub.session?.session;
    document.body.classList.toggle("bare", this.event === null && this.known);
    showRoster(find(".roster"), members, people, this.hub.session?.user);
    if (store === null || programme === null) this.#drawWithout();
    else {
      const watchers = watchersByTalk(members, people, session);
      this.#drawHead(programme, store.ready);
      this.#drawProgramme(programme, store.ready, watchers);
      this.#drawDrawer(programme, store.ready, watchers);
      drawPanel(find(".panel"), {
        members, people, me: this.hub.session?.user, mySession: session, byId: programme.byId, talks: programme.talks,
        tracks: programme.tracks, track: this.track, edits: store.edits, files: store.files, now: Date.now(),
        open: (/** @type {string} */ id) => this.open(id),
        nameOf: (/** @type {string | null} */ user) => this.#nameOf(user),
        chooseTrack: (/** @type {string | null} */ track) => { this.track = track; this.draw(); },
        download: (/** @type {any} */ file) => downloadFile(this.hub, file).catch(this.toasts.error),
      });
    }
  }

  /** No event is on the page. */
  #drawWithout() {
    find(".event-head").hidden = true;
    find(".strip").hidden = true;
    document.body.classList.remove("drawer-open");
    this.lock.follow(null);
    this.#cover(false);
    find(".panel").replaceChildren();
    if (this.known) this.#drawImport("No programme yet");
    else this.timetable.drawWaiting();
  }

  /** @param {string} title */
  #drawImport(title) {
    const account = this.hub.session?.display?.account;
    const words = account && account !== "main" ? `import conference FILE --account ${account}` : "import conference FILE";
    this.timetable.drawNothing(title, mark(), h("p", { text: "Load one on the machine of the hub. It appears here by itself." }), command(words), whereToRun());
  }

  /** @param {ReturnType<Store["programme"]>} programme @param {boolean} ready */
  #drawHead({ talks, rooms, days, times, chosen }, ready) {
    const { title, starts_on, ends_on } = this.event;
    find(".event-head").hidden = false;
    setText(find("[data-testid=event-title]"), titleWords(title));
    const count = (/** @type {number} */ n, /** @type {string} */ word) => `${n} ${word}${n === 1 ? "" : "s"}`;
    const dated = days.filter(Boolean);
    const [from, to] = [starts_on ?? dated[0], ends_on ?? dated.at(-1)];
    const facts = [from && to ? times.span(from, to) : "", ...(ready ? [count(talks.length, "session"), count(rooms.length, "room")] : []), zoneWords(chosen)];
    place(find("[data-testid=event-facts]"), facts.filter(Boolean).map((text) => h("span", { text })));
    if (ready && days.length > 0 && !days.includes(this.day ?? "\n")) {
      const today = times.day(Date.now());
      this.day = days.includes(today) ? today : days[0];
    }
    find(".strip").hidden = talks.length === 0;
    this.tabs.hidden = this.query.trim() !== "";
    const known = new Map([...this.tabs.children].map((tab) => [tab.dataset.day, tab]));
    place(this.tabs, days.map((day) => {
      const tab = known.get(day) ?? this.#tab(day, times);
      const selected = day === this.day;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
      return tab;
    }));
    this.#hintTabs();
    const chosenTab = this.tabs.querySelector("[aria-selected=true]");
    if (this.tabs.hidden) this.#shownTab = null; // what is hidden forgets where it was scrolled to
    else if (chosenTab !== null && this.#shownTab !== chosenTab) {
      this.#shownTab = chosenTab;
      this.tabs.scrollLeft = chosenTab.offsetLeft - this.tabs.offsetLeft - (this.tabs.clientWidth - chosenTab.offsetWidth) / 2;
    }
  }

  /** Days that do not fit fade out at the side where there are more. */
  #hintTabs() {
    const { scrollLeft, clientWidth, scrollWidth, classList } = this.tabs;
    classList.toggle("more-before", scrollLeft > 2);
    classList.toggle("more-after", scrollLeft + clientWidth < scrollWidth - 2);
  }

  /** @param {string} day @param {import("./time.js").Times} times */
  #tab(day, times) {
    const [weekday, date] = day === "" ? ["No time", ""] : times.tab(day);
    return h("button", {
      type: "button", role: "tab", "aria-controls": "programme", data: { testid: "day-tab", day },
      onclick: () => {
        this.day = day;
        this.remember();
        this.draw();
        find(".programme").scrollTop = 0;
      },
    }, h("span", { text: weekday }), h("strong", { text: date }));
  }

  /** @param {ReturnType<Store["programme"]>} programme @param {boolean} ready @param {Map<string, any>} watchers */
  #drawProgramme(programme, ready, watchers) {
    const words = terms(this.query);
    const searching = words.length > 0;
    const { event, query, talks: told } = this.#found;
    const asked = event === this.event?.id && query === this.query.trim();
    const talks = programme.talks.filter((talk) => (
      (this.track === null || talk.track?.id === this.track)
      && (searching ? matches(talk.haystack, words) || (asked && told.has(talk.id)) : talk.day === this.day)
    ));
    const found = find("[data-testid=search-count]");
    found.hidden = !searching;
    if (searching) setText(found, `${talks.length} of ${programme.talks.length} sessions match`);
    const scene = { talks, rooms: programme.rooms, times: programme.times, words, watchers, open: this.talk };
    this.timetable.keep(programme.byId);
    if (!ready) this.timetable.drawWaiting();
    else if (programme.talks.length === 0) this.#drawImport("This event has no sessions yet");
    else if (talks.length === 0) this.timetable.drawNothing(searching ? "Nothing matches" : "Nothing in this track today");
    else if (searching || narrow.matches || this.day === "") this.timetable.drawList(scene, searching);
    else this.timetable.drawGrid(scene);
  }

  /** @param {ReturnType<Store["programme"]>} programme @param {boolean} ready @param {Map<string, any>} watchers */
  #drawDrawer({ byId, times }, ready, watchers) {
    const talk = byId.get(this.talk ?? "");
    if (this.talk !== null && ready && talk === undefined) {
      this.toasts.note("The session you had open was removed.");
      this.talk = null;
      this.remember();
      this.#tell();
    }
    const left = talk === undefined && find(".drawer").contains(document.activeElement) ? this.drawer.open : null;
    this.drawer.show(talk?.id ?? null);
    this.lock.follow(talk?.id ?? null);
    document.body.classList.toggle("drawer-open", talk !== undefined);
    this.#cover(narrow.matches && talk !== undefined);
    if (left !== null) this.#focusCard(left);
    if (talk === undefined) return;
    const { updated_at, updated_by, version } = talk.record;
    const changed = version > 1 ? `changed ${ago(Date.parse(updated_at), Date.now())}${updated_by ? ` by ${insideSentence(this.#nameOf(updated_by))}` : ""}` : null;
    this.drawer.draw(talk, { times, watchers: watchers.get(talk.id) ?? [], changed });
  }
}
