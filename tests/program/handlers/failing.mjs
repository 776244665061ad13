// As examples/failing.rs.
import { GiveUp, run } from 'turnkey'

function book(turn) {
  turn.state.n = (turn.state.n ?? 0) + 1
  if (turn.text === 'last' && turn.isLastAttempt) turn.reply('a little')
  else if (turn.text === 'never') throw new GiveUp('there is no such day')
  else if (turn.text === 'last' || turn.text.startsWith('fail')) throw new Error('the calendar is away')
  else turn.reply(`${turn.state.n}: ${turn.text}`)
}

async function sorry(turn, error) {
  if (turn.text === 'fail twice') throw new Error('no words for it')
  if (turn.text === 'fail and die') process.abort()
  if (turn.text === 'fail and tell 7') turn.sendTo('vk', '7', `${turn.userId}: ${error}`)
  turn.state.n = (turn.state.n ?? 0) + 100
  turn.reply(`Sorry: ${error}`)
}

run(book, { givenUp: sorry })
