/**
 * Who is in a channel, kept by the hub's pushes. Pure: messages in, what changed out.
 *
 * `version` counts the pushes of this join on this socket; a hole means that something was missed. The list of a large
 * channel comes in pages. Every change since the join is pushed, so of a member a push knows better than a page; who was
 * known before and is on no page has left, which is told when the list is whole.
 */

/**
 * @typedef {object} Member
 * @property {"user" | "device"} kind
 * @property {string} rec
 * @property {string | null} name
 * @property {string} status
 * @property {string} since
 * @property {{session: string, state: any, status: string, since: string}[]} sessions
 */
/**
 * @typedef {{joined: Member[], updated: Member[], left: Member[], count?: number}} RosterChange `count`: how many there
 *   are, where the hub told that
 */
/** @typedef {{members: Member[], next?: string}} RosterPage `next`: the list goes on behind that */

/** @param {{kind: string, rec: string}} member */
const keyOf = ({ kind, rec }) => `${kind}:${rec}`;

/** Whether a member who was known is as before. @param {Member | undefined} known @param {Member} member */
const same = (known, member) => known === undefined || JSON.stringify(known) === JSON.stringify(member);

export class Roster {
  /** how many there are, as the hub told last; null = as many as `members` */
  #told = /** @type {number | null} */ (null);

  /** who was on a page since the join, in the hub's order; kept until the list is whole, as is the next one */
  #listed = /** @type {Set<string>} */ (new Set());

  /** of whom pushes told since the join */
  #pushed = /** @type {Set<string>} */ (new Set());

  #whole = true;

  constructor() {
    /** @type {Map<string, Member>} by kind and record */
    this.members = new Map();
    /** number of the last push applied; null without a join on the present socket */
    this.version = /** @type {number | null} */ (null);
  }

  /** How many members there are; `members` are fewer while their list is read, and where only their number is told. */
  get count() {
    return this.#told ?? this.members.size;
  }

  /**
   * Take the answer of `channel.join`; what the former socket did not know any more is in the change. With `next` the
   * list goes on with `page`, and nobody has left before it ends.
   * @param {RosterPage & {version: number, count?: number}} answer
   * @returns {RosterChange}
   */
  open({ version, count, ...page }) {
    this.version = version;
    this.#told = count ?? null;
    this.#listed.clear();
    this.#pushed.clear();
    this.#whole = false;
    const change = this.#list(page);
    return count === undefined ? change : { ...change, count };
  }

  /**
   * Take the next page of the list.
   * @param {RosterPage} page
   * @returns {RosterChange}
   */
  page(page) {
    if (page.next === undefined) this.#told = null;
    return this.#list(page);
  }

  /** @param {RosterPage} page @returns {RosterChange} */
  #list({ members, next }) {
    /** @type {RosterChange} */
    const change = { joined: [], updated: [], left: [] };
    for (const listed of members) {
      const key = keyOf(listed);
      const known = this.members.get(key);
      const member = this.#pushed.has(key) ? known : listed;
      if (member === undefined) continue; // has left since
      if (known === undefined) change.joined.push(member);
      else if (!same(known, member)) change.updated.push(member);
      this.members.set(key, member);
      this.#listed.delete(key); // who came back is on a later page too, and stands there
      this.#listed.add(key);
    }
    if (next === undefined) change.left = this.#close();
    return change;
  }

  /** The list is whole: bring the members into its order, and return who has left. */
  #close() {
    const old = this.members;
    const unlisted = [...old.keys()].filter((key) => this.#pushed.has(key));
    const order = new Set([...this.#listed, ...unlisted]);
    this.members = new Map([...order].map((key) => [key, /** @type {Member} */ (old.get(key))]));
    this.#listed.clear();
    this.#pushed.clear();
    this.#whole = true;
    return [...old].filter(([key]) => !order.has(key)).map(([, member]) => member);
  }

  /**
   * Take a `presence` push.
   * @param {{version: number, events?: {kind: string, member: Member}[], count?: number}} push
   * @returns {RosterChange | "hole"} `hole`: join again
   */
  push({ version, events = [], count }) {
    /** @type {RosterChange} */
    const change = { joined: [], updated: [], left: [] };
    if (this.version === null || version <= this.version) return change;
    if (version !== this.version + 1) return "hole";
    this.version = version;
    if (count !== undefined) this.#told = change.count = count;
    for (const { kind, member } of events) {
      const key = keyOf(member);
      const known = this.members.get(key);
      if (!this.#whole) this.#pushed.add(key);
      if (kind === "leave") {
        this.members.delete(key);
        this.#listed.delete(key);
        change.left.push(known ?? member);
      } else {
        this.members.set(key, member);
        (known === undefined ? change.joined : change.updated).push(member);
      }
    }
    return change;
  }

  /** The socket is gone; the members stay as last seen. */
  lost() {
    this.version = null;
  }
}
