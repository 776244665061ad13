// Makes `turnkey` and `turnkey/testing` known to a Node.js process that has no such package
// installed: `import` and `require` find the SDK that the program carries.
//
// Node.js runs it before the bot: the program puts it, as a data: URL, into NODE_OPTIONS
// (build.mjs says how). Invariants: this SDK, where it is installed, wins, as the carried one
// is taken only when it was not found (another package may have the name); nothing is written to a disk; `import` and
// `require` get the same objects; in stack traces the SDK's files are `turnkey:index.js`
// and the like. It needs Node.js 18.19, or 20.6 and newer; Bun runs it, too (BUN_OPTIONS).
import * as module from 'node:module'
import { dirname } from 'node:path'
import { compileFunction } from 'node:vm'

/** The SDK's files by name. The program puts them here. */
const sources = 'TURNKEY_SOURCES'

const SCHEME = 'turnkey:'
const { Module, createRequire } = module

/** What is asked for, and the file that it is: for `require`, and for `import`. */
const names = { turnkey: 'index.js', 'turnkey/testing': 'testing.js' }

/** Everything else that the SDK requires is Node's own. */
const builtin = createRequire('file:///')

/** Loads a file of the SDK, once. */
function load(name) {
  const filename = SCHEME + name
  const known = Module._cache[filename]
  if (known) return known
  const made = new Module(filename)
  made.filename = filename
  Module._cache[filename] = made
  const require = (request) => (request.startsWith('./') ? load(request.slice(2)).exports : builtin(request))
  // The directory of an installed one tells the SDK's own frames in a stack trace.
  const wrapped = compileFunction(sources[name], ['exports', 'require', 'module', '__filename', '__dirname'], { filename })
  wrapped.call(made.exports, made.exports, require, made, filename, SCHEME)
  made.loaded = true
  return made
}

const resolveFilename = Module._resolveFilename
Module._resolveFilename = function (request, ...rest) {
  if (!Object.hasOwn(names, request)) return resolveFilename.call(this, request, ...rest)
  try {
    const found = resolveFilename.call(this, request, ...rest)
    if (found.endsWith(`/src/${names[request]}`)) return found
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND' && error.code !== 'ERR_PACKAGE_PATH_NOT_EXPORTED') throw error
  }
  return load(names[request]).id
}

/** For the modules below, which give on what the files above have. */
globalThis[Symbol.for('turnkey.carried')] = (name) => load(name).exports

/** For `import`: URLs of ES modules, by what is asked for. */
const facades = {}
for (const [specifier, name] of Object.entries(names)) {
  const wrapper = sources[name.replace(/\.js$/, '.mjs')]
  const text = wrapper.replace(/^import (\w+) from .*$/m, (_, all) => `const ${all} = globalThis[Symbol.for('turnkey.carried')]('${name}')`)
  facades[specifier] = 'data:text/javascript,' + encodeURIComponent(text)
}

/**
 * Node's hook for `import`: plain or async, as what comes next is. There is none for
 * loading: up to 24.0, Node.js that has one no longer finds `require('node:sqlite')`.
 */
function makeResolve(facades) {
  return (specifier, context, next) => {
    if (!Object.hasOwn(facades, specifier)) return next(specifier, context)
    const ours = { url: facades[specifier], format: 'module', shortCircuit: true }
    // `require` has its own way, above.
    const isOwn = (url) => /\/src\/(index|testing)\.m?js$/.test(url) || !url.startsWith('file:')
    const orElse = (error) => {
      if (error.code !== 'ERR_MODULE_NOT_FOUND' && error.code !== 'ERR_PACKAGE_PATH_NOT_EXPORTED') throw error
      return ours
    }
    const judge = (found) => (isOwn(found.url) ? found : ours)
    try {
      const result = next(specifier, context)
      return typeof result?.then === 'function' ? result.then(judge, orElse) : judge(result)
    } catch (error) {
      return orElse(error)
    }
  }
}

if (globalThis.Bun) {
  // Bun's modules of this kind go before installed ones: they are made where there is none.
  for (const [specifier, name] of Object.entries(names)) {
    try {
      Bun.resolveSync(specifier, dirname(Bun.main))
    } catch {
      const setup = (build) => build.module(specifier, () => ({ loader: 'object', exports: load(name).exports }))
      Bun.plugin({ name: specifier, setup })
    }
  }
} else if (module.registerHooks) {
  module.registerHooks({ resolve: makeResolve(facades) })
} else {
  const text = `export const resolve = (${makeResolve})(${JSON.stringify(facades)})\n//# sourceURL=${SCHEME}hooks`
  module.register('data:text/javascript,' + encodeURIComponent(text))
}
//# sourceURL=turnkey:register
