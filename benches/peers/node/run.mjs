// ayni and @huggingface/transformers from Node.js at the same work, in turns: `make bench-peers SUITE=node`.
import { spawn } from "node:child_process";
import { cpus } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { Figures, median } from "../../../bindings-node/benches/figures.mjs";

const { values: options } = parseArgs({ options: {
  ayni: { type: "string" }, minilm: { type: "string" }, graphs: { type: "string" }, peers: { type: "string" },
  scratch: { type: "string" }, rounds: { type: "string", default: "7" }, threads: { type: "string", default: "2" },
  only: { type: "string", default: "" }, markdown: { type: "string" }, help: { type: "boolean" },
} });
if (options.help) {
  console.log("usage: scripts/bench-peers node [--rounds 7] [--threads 2] [--only TEXT] [--markdown FILE]");
  process.exit();
}

const WORKS = ["minilm_1x16", "minilm_32x64", "clip_text_1x10", "clip_text_16x77", "clip_image_1", "clip_image_16"];
/** Ours and what it is held against: the precision that each takes by itself, and int8. */
const PAIRS = [["ours_auto", "transformers.js_f32"], ["ours_f32", "transformers.js_f32"], ["ours_int8", "transformers.js_int8"]];
const SIDES = ["ours_auto", "ours_f32", "ours_int8", "transformers.js_f32", "transformers.js_int8"];
const FASTER = 1.5;
const MEMORY = 0.5;

class Side {
  constructor(name) {
    const threads = Number(options.threads);
    const config = JSON.stringify({ ...options, threads, scratch: `${options.scratch}/${name}` });
    const worker = fileURLToPath(new URL("worker.mjs", import.meta.url));
    this.process = spawn(process.execPath, [worker, name, config], {
      stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, AYNI_THREADS: String(threads) },
    });
    this.lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
  }

  async ask(line) {
    this.process.stdin.write(`${line}\n`);
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`a side ended at '${line}'`);
    return value.split(" ");
  }
}

const cosine = (a, b) => a.reduce((sum, x, index) => sum + x * b[index], 0);
const figures = new Figures();
const tables = [];

console.log(`# ${cpus()[0].model}, ${options.threads} threads, Node.js ${process.version}, medians of ${options.rounds} turns`);
for (const group of ["minilm", "clip"]) {
  const works = WORKS.filter((name) => name.startsWith(group) && name.includes(options.only));
  if (works.length === 0) continue;
  const sides = Object.fromEntries(SIDES.map((name) => [name, new Side(name)]));
  for (const work of works) {
    const times = {}, vectors = {};
    for (const name of SIDES) {
      await sides[name].ask(`prepare ${work}`);
      vectors[name] = JSON.parse((await sides[name].ask(`vector ${work}`))[1]);
      times[name] = [];
    }
    for (let round = 0; round < Number(options.rounds); round++) {
      for (const name of SIDES) times[name].push(Number((await sides[name].ask(`run ${work}`))[1]));
    }
    for (const name of SIDES) {
      const near = cosine(vectors[name], vectors["transformers.js_f32"]);
      figures.figure(`${work}_${name}`, median(times[name]), "ms");
      console.log(`# cosine with transformers.js_f32: ${near.toFixed(6)}`);
    }
    for (const [mine, theirs] of PAIRS) figures.ratio(`${work}_${mine}_times_${theirs}`, median(times[theirs]) / median(times[mine]), FASTER);
  }
  const memory = {};
  for (const name of SIDES) {
    memory[name] = Number((await sides[name].ask("memory"))[1]);
    figures.figure(`${group}_${name}_resident`, memory[name] / 2 ** 20, "MiB");
  }
  for (const [mine, theirs] of PAIRS) figures.ratio(`${group}_${mine}_resident_of_${theirs}`, memory[mine] / memory[theirs], MEMORY, false);
  for (const side of Object.values(sides)) side.process.stdin.end();
  tables.push(table(works, memory, group));
}
figures.finish({
  file: options.markdown,
  title: "Beside transformers.js",
  command: "make bench-peers SUITE=node OPTIONS='--markdown docs/reference/node-performance.md'",
  about: `Milliseconds, medians of ${options.rounds} runs that take turns, ${options.threads} threads. Texts are tokenised and JPEG \
images decoded in the time that counts. \`minilm_32x64\` is 32 texts of 64 tokens with all-MiniLM-L6-v2; CLIP is ViT-B/32 with \
random weights.`,
  table: `${tables.join("\n")}\n${figures.ratios()}`,
});

/** A row a side: its times, and its memory with the group's models loaded. */
function table(works, memory, group) {
  const of = (name) => figures.rows.find((row) => row.name === name).value;
  const rows = SIDES.map((side) => {
    const cells = works.map((work) => of(`${work}_${side}`).toFixed(2));
    return `| ${side} | ${cells.join(" | ")} | ${(memory[side] / 2 ** 20).toFixed(0)} |`;
  });
  return `| ${group} | ${works.join(" | ")} | resident, MiB |\n|${" --- |".repeat(works.length + 2)}\n${rows.join("\n")}\n`;
}
