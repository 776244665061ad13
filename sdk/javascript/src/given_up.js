// What is done when an update is given up: the `givenUp` of `run`.
//
// Called by index.js and testing.js. Invariant: a turn goes to one of the two functions, never
// to both.
'use strict'

const { describe } = require('./values.js')

function checkGivenUp(givenUp, caller) {
  if (givenUp === undefined || typeof givenUp === 'function') return
  throw new TypeError(`${caller}: givenUp: a function is wanted, such as async (turn, error) => { … }, not ${describe(givenUp)}`)
}

/** One function of a turn: the handler, or what is called when its update is given up. */
function either(handle, givenUp) {
  if (givenUp === undefined) return handle
  return (turn) => turn.givenUp === undefined ? handle(turn) : givenUp(turn, turn.givenUp)
}

module.exports = { checkGivenUp, either }
