// Elements are made here and nowhere else. Text is only ever set as text: whatever a file is called, nothing of it runs.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** Make an element with attributes (false and null leave one out, functions listen) and children (text or elements). */
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Write a text where it is different: what does not change is not drawn again. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A button that asks before it acts: the first press changes its words, the second one within 4 s does it. */
export function careful(words, question, act) {
  let timer = 0;
  const calm = () => {
    clearTimeout(timer);
    timer = 0;
    button.classList.remove("sure");
    write(button, words);
  };
  const button = make("button", {
    type: "button",
    class: "danger",
    click: async () => {
      if (timer) {
        calm();
        await busy(button, act);
        return;
      }
      button.classList.add("sure");
      write(button, question);
      timer = setTimeout(calm, 4000);
    },
  }, words);
  return button;
}

/** Let a button rest while it works. */
export async function busy(button, act) {
  button.disabled = true;
  try {
    await act();
  } finally {
    button.disabled = false;
  }
}
