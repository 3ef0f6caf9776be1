// Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
//
// What makes of page.html a page on which a person types a puzzle, and the model solves it here, step by step, by
// onnxruntime-web. web.py puts it there. data.live has, besides what trm_jax.tasks.task.Editor has:
//
//   given: for each token whether an answer must keep it.
//   examples: puzzles, as tokens.
//   steps: supervision steps to be made.
//   rules: whether there is a rules.onnx, which tells whether an answer is right.
const live = data.live, blank = live.tokens[0], [mine] = data.puzzles, table = board.parentElement;
const pauseMs = 150;  // between steps, to watch them
let cursor = 0, runs = 0, shown = 0;

// The puzzle.

const puzzleNow = () => mine.frames[0].tokens;
const textOf = tokens => tokens.map(token => data.text[token]).join("");

function tokenOf(character) {
  const among = c => live.tokens.find(token => data.text[token] === c);
  return among(character) ?? among(character.toUpperCase()) ?? (character === "0" ? blank : undefined);
}

function clashes(tokens) {
  const cells = new Set();
  for (const unit of live.units)
    for (const i of unit)
      if (tokens[i] !== blank && unit.some(j => j !== i && tokens[j] === tokens[i])) cells.add(i);
  return cells;
}

function faultOf(tokens) {
  if (clashes(tokens).size) return "Nothing can solve this: the underlined cells contradict each other.";
  for (const token of live.once) {
    const number = tokens.filter(other => other === token).length;
    if (number !== 1) return `The puzzle has ${number || "no"} ${data.text[token]}; it must have exactly one.`;
  }
  return "";
}

function setPuzzle(tokens) {
  runs++;  // whatever is being solved is no longer wanted
  stop();
  const clash = clashes(tokens);
  const marks = tokens.map((token, i) => clash.has(i) ? "w" : live.given[token] ? "g" : ".").join("");
  mine.frames = [{ ...mine.frames[0], tokens, marks, cursor }];
  mine.verdict = mine.note = "";
  go(0);
}

function moveTo(cell) {
  cursor = mine.frames[0].cursor = Math.min(Math.max(cell, 0), puzzleNow().length - 1);
  go(0);
}

function put(token, cell = cursor) {
  setPuzzle(puzzleNow().with(cell, token));
}

function read(text) {
  const tokens = Array.from(text.replace(/[\r\n]/g, ""), tokenOf), wanted = puzzleNow().length;
  if (tokens.length === wanted && !tokens.includes(undefined)) return setPuzzle(tokens);
  mine.note = `That is no puzzle of this page: ${wanted} of the characters ${textOf(live.tokens)}, row by row, are one.`;
  show();
}

function readLink() {
  let text = location.hash.slice(1);
  if (!text) return table.focus();
  try {
    text = decodeURIComponent(text);
  } catch {}  // cut off amid a character: no puzzle, as `read` says
  read(text);
  if (!mine.note) solve();
}

// The model.

async function load() {
  const ort = await import("./onnxruntime-web/ort.wasm.bundle.min.mjs");
  ort.env.wasm.proxy = true;  // computes in a worker, so that the page answers meanwhile
  ort.env.wasm.numThreads = 1;  // more of them need headers that not every server of files sends
  const names = ["start", "step", ...(live.rules ? ["rules"] : [])];
  const programs = {};
  const options = { logSeverityLevel: 3 };  // errors; its warnings are about constants that no node needs
  for (const name of names) programs[name] = await ort.InferenceSession.create(`./${name}.onnx`, options);
  // The worker takes away what it gets: each call needs arrays of its own.
  const tensor = (values, shape) => new ort.Tensor("int32", Int32Array.from(values), shape);
  return { programs, tensor };
}

function frameOf(puzzle, logits, qHalt) {
  const size = data.text.length, tokens = [], sure = [];
  for (let i = 0; i < puzzle.length; i++) {
    const cell = logits.subarray(i * size, (i + 1) * size), most = Math.max(...cell);
    tokens.push(cell.indexOf(most));
    sure.push(Math.floor(100 / cell.reduce((sum, logit) => sum + Math.exp(logit - most), 0)));
  }
  const marks = tokens.map((token, i) => !live.given[puzzle[i]] ? "." : token === puzzle[i] ? "g" : "w").join("");
  return { ...mine.frames[0], tokens, sure, marks, halt: 100 / (1 + Math.exp(-qHalt)), cursor: null };
}

async function solve() {
  const puzzle = puzzleNow();
  setPuzzle(puzzle);
  mine.note = faultOf(puzzle);
  if (mine.note) return show();
  const run = runs;
  history.replaceState(null, "", "#" + encodeURIComponent(textOf(puzzle)));
  try {
    mine.note = "The model is being loaded.";
    show();
    const { programs, tensor } = await loaded;
    const inputs = () => ({ inputs: tensor(puzzle, [1, puzzle.length]), puzzle_identifiers: tensor([0], [1]) });
    let states = await programs.start.run(inputs());
    for (let number = 1; run === runs && number <= live.steps; number++) {
      const { logits, q_halt, ...next } = await programs.step.run({ ...inputs(), ...states });
      states = Object.fromEntries(Object.entries(next).map(([name, state]) => [name.replace("next_", ""), state]));
      if (run !== runs) return;
      mine.frames.push(frameOf(puzzle, logits.data, q_halt.data[0]));
      mine.verdict = "thinking";
      mine.note = "";
      go(number);
      await new Promise(resolve => setTimeout(resolve, pauseMs));
    }
    if (run !== runs) return;
    const shape = [1, puzzle.length], answers = tensor(mine.frames.at(-1).tokens, shape);
    const proven = live.rules && (await programs.rules.run({ inputs: tensor(puzzle, shape), answers }));
    mine.verdict = !proven ? "nothing tells whether it is right"
      : proven.proven.data[0] ? "proven right" : "NOT right, by the rules";
    show();
  } catch (error) {
    if (run !== runs) return;
    mine.note = location.protocol === "file:"
      ? "No browser lets a page from the disk load the model. Start python -m http.server in this folder, and open " +
        "the address that it tells."
      : `The model cannot be run: ${error.message || error}`;
    show();
  }
}

// What a person touches.

function buttons(names, label) {
  const bar = document.createElement("div");
  bar.className = "controls";
  bar.setAttribute("aria-label", label);
  bar.setAttribute("role", "group");
  for (const [text, act, title] of names) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: text, onclick: act, title: title || text });
    bar.append(button);
  }
  return bar;
}

function example() {
  setPuzzle(live.examples[shown++ % live.examples.length]);
}

const nameOf = token => token === blank ? "empty" : data.text[token];
at("title").parentElement.insertBefore(buttons([
  ["Solve", solve], ["Clear", () => setPuzzle(puzzleNow().map(() => blank))], ["Example puzzle", example],
], "puzzle"), at("status"));
const keys = buttons(live.tokens.map(token => [nameOf(token), () => {
  put(token);
  moveTo(cursor + 1);
}, `put this into the framed cell: ${nameOf(token)}`]), "cells");
keys.classList.add("keys");
table.after(keys);

table.tabIndex = 0;
table.setAttribute("aria-label", "the puzzle");
board.addEventListener("click", event => {
  const cell = [...board.querySelectorAll("td")].indexOf(event.target.closest("td"));
  if (cell < 0) return;
  const number = Number(slider.value);
  if (number) {  // an answer; on a phone there is no pointer that would show this
    cursor = mine.frames[0].cursor = cell;
    mine.note = `After step ${number}, ${board.querySelectorAll("td")[cell].title}.`;
    show();
  } else if (cell === cursor) {
    put(live.tokens[(live.tokens.indexOf(puzzleNow()[cell]) + 1) % live.tokens.length]);
  } else {
    moveTo(cell);
  }
});
table.addEventListener("keydown", event => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const columns = mine.frames[0].columns;
  const way = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  const token = event.key.length === 1 ? tokenOf(event.key) ?? (event.key === " " ? blank : undefined) : undefined;
  if (way) moveTo(cursor + way);
  else if (event.key === "Enter") solve();
  else if (event.key === "Delete") put(blank);
  else if (event.key === "Backspace") { moveTo(cursor - 1); put(blank); }
  else if (token !== undefined) { put(token); moveTo(cursor + 1); }
  else return;
  event.preventDefault();
  event.stopPropagation();  // which would move through the steps
});
document.addEventListener("paste", event => read(event.clipboardData.getData("text")));

document.title = `${data.task}: type a puzzle`;
at("help").textContent = "Type into the framed cell, or choose from the row of keys; arrows and a tap move the frame, and " +
  "a second tap changes the cell. Paste a whole puzzle row by row. Enter: solve. Everything is computed here, in your " +
  "browser. Afterwards the slider, and left and right arrows outside the board, move through the steps: bold on grey " +
  "is given, an orange frame has just changed, a wavy line is wrong. The stronger a cell's colour, the surer the model " +
  "is of it; a tap tells the number.";
const loaded = load();
loaded.catch(() => {});  // told by whoever waits for it
setPuzzle(puzzleNow());
readLink();
addEventListener("hashchange", readLink);  // another link, opened in the same tab
