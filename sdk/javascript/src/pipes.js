// The two pipes to Turnkey: lines of JSON come in on descriptor 3 and go out on 4.
//
// Called by index.js. Invariants: a line ends at a line feed and nowhere else, whatever the
// borders of the chunks; a line that was written is with the kernel before `write` returns,
// so that no exit loses it. Bounds: nothing is gathered for writing; of what is read, one
// line, which Turnkey keeps below 16 MiB. How much comes in is bounded by what the
// process has said it can run at once.
'use strict'

const fs = require('node:fs')
const net = require('node:net')
const { StringDecoder } = require('node:string_decoder')
const { MAX_LINE } = require('./values.js')

const FROM = 3
const TO = 4

// In Bun a socket on a descriptor ends at once; in Deno node:fs has numbers of its own.
// Opened by their paths, the pipes are the same.
const byPath = Boolean(process.versions.bun || process.versions.deno)

/** Why this process cannot talk to Turnkey: a sentence; undefined if it can. */
function trouble(bot) {
  const promised = process.env.TURNKEY_PIPES
  if (promised === undefined) {
    return `turnkey: this bot is not run by itself, but by Turnkey:\n  turnkey run ${bot}`
  }
  if (promised === `${inode(FROM)}:${inode(TO)}`) return undefined
  return 'turnkey: the descriptors 3 and 4 did not come through. ' +
    'npm start, the tsx command, node --watch and bun run drop them.\n' +
    `  Use turnkey run ${bot}, or for TypeScript turnkey run -- node --import tsx bot.ts`
}

function inode(descriptor) {
  try {
    const about = byPath ? fs.statSync(`/dev/fd/${descriptor}`) : fs.fstatSync(descriptor)
    return about.ino
  } catch {
    return 'none'
  }
}

/** Calls `onLine` with each line, and `onEnd` once there are no more. */
function read(onLine, onEnd) {
  // Halves of characters wait in the decoder, halves of lines in `parts`.
  const decoder = new StringDecoder('utf8')
  let parts = []
  let length = 0
  const input = open()
  input.on('data', (chunk) => {
    const text = decoder.write(chunk)
    let start = 0
    for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', start)) {
      let line = text.slice(start, end)
      start = end + 1
      if (length > 0) {
        line = parts.join('') + line
        parts = []
        length = 0
      }
      onLine(line)
    }
    if (start < text.length) {
      parts.push(text.slice(start))
      length += text.length - start
      if (length > MAX_LINE) onLine(parts.join(''))
    }
  })
  input.on('end', onEnd)
  input.on('error', onEnd)
  input.on('close', onEnd)
}

function open() {
  if (byPath) return fs.createReadStream(`/dev/fd/${FROM}`)
  return new net.Socket({ fd: FROM, readable: true, writable: false })
}

const clock = new Int32Array(new SharedArrayBuffer(4))

let output

/** Writes a whole line. `onEnd` is called when nobody reads any more. */
function write(line, onEnd) {
  output ??= byPath ? fs.openSync(`/dev/fd/${TO}`, 'w') : TO
  let bytes = line
  let written
  for (;;) {
    try {
      written = fs.writeSync(output, bytes)
    } catch (error) {
      if (error.code === 'EINTR') continue
      if (error.code !== 'EAGAIN') return onEnd()
      // The pipe is full and does not block: until Turnkey has read on, a millisecond.
      Atomics.wait(clock, 0, 0, 1)
      continue
    }
    if (typeof bytes === 'string') {
      // Mostly all of it: only a line longer than the pipe is cut, or an interrupted one.
      if (written === Buffer.byteLength(bytes)) return undefined
      bytes = Buffer.from(bytes)
    }
    if (written === bytes.length) return undefined
    bytes = bytes.subarray(written)
  }
}

module.exports = { read, trouble, write }
