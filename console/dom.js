/**
 * Making and moving elements. Text always goes in as text; there is no way from data to markup here.
 */

const SVG = "http://www.w3.org/2000/svg";

const PATHS = {
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13ZM15.5 15.5 20 20",
  close: "M6 6l12 12M18 6 6 18",
  pencil: "M4 20h4L19 9a2.1 2.1 0 0 0-3-3L5 17l-1 3ZM14 8l3 3",
  clock: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17ZM12 7.5V12l3 2",
  pin: "M12 21c4-4.6 6-7.9 6-11a6 6 0 0 0-12 0c0 3.1 2 6.4 6 11ZM12 8a2 2 0 1 0 0 4 2 2 0 0 0 0-4Z",
  language: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17ZM3.5 12h17M12 3.5c5 5 5 12 0 17M12 3.5c-5 5-5 12 0 17",
  link: "M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.6-5.6l-1 1M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.6 5.6l1-1",
  tag: "M4 12V4h8l8 8-8 8-8-8ZM8 8h.01",
  record: "M12 4.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15ZM6.5 6.5l11 11",
  file: "M7 3.5h7l4 4v13H7v-17ZM14 3.5v4h4",
  copy: "M9 9h10v11H9zM15 9V4H5v11h4",
  leave: "M14 4H6v16h8M10 12h10M16.5 8.5 20 12l-3.5 3.5",
};

/** @typedef {keyof typeof PATHS} IconName */

/**
 * A line icon of 24 × 24, hidden from screen readers.
 * @param {IconName} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** The mark of Aether Hub, as it stands in the page. */
export function mark() {
  const mark = /** @type {Element} */ (document.querySelector(".brand svg")).cloneNode(true);
  return /** @type {SVGElement} */ (mark);
}

/**
 * Make an element. `class`, `text`, `on<event>`, `data` (an object) and `style` (custom properties) are special, a
 * boolean sets or leaves out an attribute, null and undefined leave it out.
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {any}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "style") for (const [key, given] of Object.entries(value)) element.style.setProperty(key, String(given));
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/**
 * Make these the children, in this order; what stays in place is not touched, so focus and scrolling stay.
 * @param {Element} parent
 * @param {Node[]} nodes
 */
export function place(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.childNodes]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, index) => {
    if (parent.childNodes[index] !== node) parent.insertBefore(node, parent.childNodes[index] ?? null);
  });
}

/** Set a text only where it differs. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Text with the found words marked.
 * @param {Element} element
 * @param {{text: string, hit: boolean}[]} pieces
 */
export function setMarked(element, pieces) {
  const key = pieces.map(({ text, hit }) => (hit ? `\u0001${text}\u0002` : text)).join("");
  const held = /** @type {any} */ (element);
  if (held.markedAs === key) return;
  held.markedAs = key;
  element.replaceChildren(...pieces.map(({ text, hit }) => (hit ? h("mark", { text }) : text)));
}

/** A round picture of a person, with a pencil while they write. @param {{name: string, hue: number, letters: string, editing?: boolean}} person */
export function avatar({ name, hue, letters, editing = false }) {
  const picture = h("span", { class: "avatar", style: { "--hue": hue }, title: name, "aria-hidden": "true", text: letters });
  if (editing) picture.append(icon("pencil"));
  return picture;
}
