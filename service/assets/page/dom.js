// What every part of the page does with its elements.

export const $ = (id) => document.getElementById(id);

/** An element with attributes and children. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Says something to everybody, those included who listen. */
export function tell(words, isBad = false) {
  const notice = $("notice");
  notice.classList.toggle("bad", isBad);
  if (notice.textContent !== words) notice.textContent = words;
}

/** Changes what is shown only where it differs, so that nothing is read aloud or selected anew. */
export function setText(element, words) {
  if (element.textContent !== words) element.textContent = words;
}
