// Sends a picture to the service and shows what comes back. No text from an answer is ever taken as HTML.

const EMOTIONS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"];
const SVG = "http://www.w3.org/2000/svg";

const part = (id) => document.getElementById(id);
const BADGE_RADIUS = 11; // of a face's number, in pixels of the screen, however small the picture is shown

const percent = (share) => `${(100 * share).toFixed(share < 0.0995 && share >= 0.0005 ? 1 : 0)}%`;

let sent = null; // the picture on show
let redraw = () => {};
let asking = new AbortController();

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text ?? "";
  if (className) made.className = className;
  return made;
}

function drawn(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

class Refused extends Error {
  constructor(problem) {
    super(problem.came);
    this.problem = problem;
  }
}

async function ask(address, picture, signal) {
  const body = new FormData();
  body.append("picture", picture, "picture");
  let answer;
  try {
    answer = await fetch(address, { method: "POST", body, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused({ came: "No answer came", expected: "an answer of the service", to_do: "Check that the service runs, and that the picture is not very large." });
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => null);
  throw new Refused(problem ?? { came: `Status ${answer.status}`, expected: "an answer of the service", to_do: "Try again." });
}

function complain(error) {
  if (error.name === "AbortError") return;
  const { came, expected, to_do } = error.problem ?? { came: String(error), expected: "an answer", to_do: "Reload the page." };
  part("status").textContent = "";
  const first = element("p");
  first.append(element("strong", "Refused: "), `${came}; expected ${expected}.`);
  part("problem").replaceChildren(first, element("p", to_do));
}

async function tellModel() {
  const answer = await fetch("v1/model");
  const model = await answer.json();
  const accuracy = model.metrics?.single_view_accuracy ?? model.metrics?.accuracy;
  const measured = accuracy === undefined ? "" : `, right for ${percent(accuracy)} of its test images`;
  if (!answer.ok) part("model").textContent = model.to_do;
  else if (model.source === "champion") part("model").textContent = `${model.name}, version ${model.version}, is the champion${measured}. ${model.note}`;
  else part("model").textContent = `No champion is registered: the weights that come with the project serve${measured}.`;
  part("model").dataset.version = model.version ?? "";
}

async function show(picture) {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  part("problem").replaceChildren();
  part("result").hidden = true;
  part("status").textContent = "Looking for faces…";
  try {
    const found = await (await ask("v1/predict", picture, signal)).json();
    const image = await loaded(picture);
    signal.throwIfAborted();
    sent = picture;
    replacePicture(image);
    image.alt = `The picture, with ${counted(found.faces.length)}`;
    part("faces").replaceChildren(...found.faces.map((face, number) => card(face, number, image, signal)));
    part("result-title").textContent = title(found);
    part("result").hidden = false;
    redraw = () => drawBoxes(found);
    redraw();
    part("status").textContent = "";
    part("result-title").focus();
    if (part("model").dataset.version !== String(found.model.version ?? "")) await tellModel();
  } catch (error) {
    complain(error);
  }
}

function loaded(picture) {
  const image = new Image();
  image.id = "picture";
  image.src = URL.createObjectURL(picture);
  return image.decode().then(() => image);
}

function replacePicture(image) {
  const former = part("picture");
  if (former) URL.revokeObjectURL(former.src);
  former?.remove();
  part("scene").prepend(image);
}

const counted = (number) => (number === 1 ? "one face" : `${number || "no"} faces`);

function title(found) {
  if (!found.faces.length) return "No face was found";
  const all = counted(found.faces_found);
  const shown = found.faces_found > found.faces.length ? `, the ${found.faces.length} largest of them shown` : "";
  return `${all[0].toUpperCase()}${all.slice(1)}${shown}`;
}

function drawBoxes(found) {
  const boxes = part("boxes");
  const radius = BADGE_RADIUS * (found.width / (part("picture").clientWidth || found.width));
  boxes.setAttribute("viewBox", `0 0 ${found.width} ${found.height}`);
  boxes.replaceChildren(...found.faces.filter((face) => face.box).map((face, number) => {
    const { left, top, width, height } = face.box;
    const group = drawn("g", {});
    const sides = { x: left, y: top, width, height };
    const [x, y] = [Math.max(left, radius), Math.max(top, radius)];
    group.append(
      drawn("rect", sides),
      drawn("rect", { ...sides, class: "inner" }),
      drawn("circle", { cx: x, cy: y, r: radius }),
      drawn("text", { x, y, "font-size": radius * 1.2 }, number + 1),
    );
    return group;
  }));
}

function card(face, number, image, signal) {
  const made = part("face").content.cloneNode(true).firstElementChild;
  made.querySelector("h3").textContent = `Face ${number + 1}: ${face.emotion}, ${percent(face.confidence)}`;
  made.querySelector("caption").textContent = `Probabilities of face ${number + 1}`;
  made.querySelector("tbody").append(...EMOTIONS.map((emotion) => row(emotion, face)));
  crop(made.querySelector("canvas"), image, face.box);
  const button = made.querySelector("button");
  button.textContent = `Explain face ${number + 1}`;
  button.addEventListener("click", () => explain(made, button, number, signal));
  const mark = (on) => part("boxes").children[number]?.classList.toggle("marked", on);
  for (const [event, on] of [["mouseenter", true], ["mouseleave", false], ["focusin", true], ["focusout", false]]) {
    made.addEventListener(event, () => mark(on));
  }
  return made;
}

function row(emotion, face) {
  const share = face.probabilities[emotion];
  const made = element("tr", "", emotion === face.emotion ? "best" : "");
  const name = element("th", emotion);
  name.scope = "row";
  const cell = element("td");
  const bar = element("div", "", "bar");
  const filled = element("i");
  filled.style.setProperty("--share", share);
  bar.append(filled);
  cell.append(bar);
  made.append(name, cell, element("td", percent(share)));
  return made;
}

function crop(canvas, image, box) {
  const whole = { left: 0, top: 0, width: image.naturalWidth, height: image.naturalHeight };
  const { left, top, width, height } = box ?? whole;
  const side = Math.max(width, height);
  const [x, y] = [left + (width - side) / 2, top + (height - side) / 2];
  canvas.getContext("2d").drawImage(image, x, y, side, side, 0, 0, canvas.width, canvas.height);
}

async function explain(made, button, number, signal) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  part("problem").replaceChildren();
  part("status").textContent = `Explaining face ${number + 1}…`;
  try {
    const answer = await ask(`v1/explain?face=${number}`, sent, signal);
    const figure = made.querySelector(".map");
    const picture = figure.querySelector("img") ?? figure.insertBefore(new Image(768, 384), figure.firstChild);
    URL.revokeObjectURL(picture.src);
    picture.src = URL.createObjectURL(await answer.blob());
    await picture.decode();
    const told = mapText(answer.headers);
    picture.alt = `LIME map of face ${number + 1}: left the face as the model sees it, right its regions`;
    figure.querySelector("figcaption").textContent = told;
    figure.hidden = false;
    part("status").textContent = `Face ${number + 1} is explained.`;
  } catch (error) {
    complain(error);
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

function mapText(headers) {
  const emotion = headers.get("X-Emotion");
  if (headers.get("X-Reliable") !== "true") {
    return `This map of ${emotion} failed its checks and is therefore grey: do not rely on it.`;
  }
  return `Blue regions speak for ${emotion}, orange ones against it; the stronger the colour, the more they count.`;
}

part("file").addEventListener("change", (event) => {
  const [picture] = event.target.files;
  event.target.value = ""; // so that the same file can be chosen again
  if (picture) show(picture);
});
for (const name of ["dragenter", "dragover"]) {
  part("drop").addEventListener(name, (event) => {
    event.preventDefault();
    part("drop").classList.add("over");
  });
}
part("drop").addEventListener("dragleave", () => part("drop").classList.remove("over"));
part("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  part("drop").classList.remove("over");
  const [picture] = event.dataTransfer.files;
  if (picture) show(picture);
});
for (const name of ["dragover", "drop"]) {
  document.addEventListener(name, (event) => event.preventDefault()); // a picture dropped beside must not replace the page
}

addEventListener("resize", () => redraw());

tellModel().catch(() => { part("model").textContent = "The service does not answer."; });
