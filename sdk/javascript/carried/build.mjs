// Prints the value of NODE_OPTIONS with which a bot finds this SDK though it is not
// installed: what the program does by itself, for tests and for trying things out.
//
//   NODE_OPTIONS="$(node sdk/javascript/carried/build.mjs)" node --test bot.test.mjs
//
// It is string building alone, of files that a program can carry:
//
//   1. `sources`: a JSON object of the files FILES, each name with the file's text.
//   2. In register.mjs, the text 'TURNKEY_SOURCES' (with its quotes; it stands there once)
//      becomes that object. JSON is JavaScript.
//   3. `--import=data:text/javascript;base64,` and the base64 (standard alphabet, with
//      padding) of the result.
//   4. If NODE_OPTIONS is set already: what it is, a space, and this.
//
// Bun has BUN_OPTIONS instead: the same, with `--no-install --preload=` in place of
// `--import=`. Without --no-install Bun itself fetches from npm what a bot imports and has
// not installed, and there `turnkey` is somebody else's package.
//
// Bound: Linux takes 131,072 bytes for one variable with its name (MAX_ARG_STRLEN).
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

/** In sdk/javascript/src. */
export const FILES = ['values.js', 'content.js', 'callbacks.js', 'reply.js', 'said.js', 'heard.js', 'steps.js', 'turn.js', 'fail.js', 'given_up.js', 'pipes.js', 'index.js', 'index.mjs', 'testing.js', 'testing.mjs']

export function build(option = '--import=') {
  const read = (name) => readFileSync(new URL(name, import.meta.url), 'utf8')
  const sources = Object.fromEntries(FILES.map((name) => [name, read(`../src/${name}`)]))
  const register = read('register.mjs').replace("'TURNKEY_SOURCES'", () => JSON.stringify(sources))
  return `${option}data:text/javascript;base64,${Buffer.from(register).toString('base64')}`
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) console.log(build())
