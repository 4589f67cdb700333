// The page's soft edge of a cut-out that comes as JSON on standard input. Run: node soft.mjs PAGE < { width, height, data, edge, closed }
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { softened } = await import(pathToFileURL(`${process.argv[2]}/soft.js`));
const { edge, closed, ...picture } = JSON.parse(readFileSync(0));
console.log(JSON.stringify([...softened(picture, edge, closed)]));
