// A support desk on Telegram: customers write to the bot in private, and the people who answer
// sit in a group with topics, one topic for each customer.
//
// It has what a larger bot has: a menu that is changed in place, languages, files both ways, a
// group, a table of its own (migrations/). Nothing here thinks of crashes, of messages that
// come twice or of two people at the same moment.
//
// Run it: DESK_GROUP=-1001234567890 TURNKEY_TELEGRAM_TOKEN=12345:ABC… turnkey run examples/handlers/desk.mjs
// Test it: desk.test.mjs
//
// The bot must be an administrator of that group who may manage topics.
import { run } from 'turnkey'

/** The id of the group with topics. */
const GROUP = process.env.DESK_GROUP
if (!GROUP) {
  console.error('set DESK_GROUP to the id of the group with topics, such as -1001234567890')
  process.exit(1)
}

/** What the desk says, in its languages. */
const LANGUAGES = {
  en: {
    name: 'English',
    welcome: 'Write what you would like to know, or send a photo or a document.',
    language: 'Language',
    saved: 'Saved',
    back: 'Back',
    received: 'Thank you. Somebody will answer here.',
  },
  de: {
    name: 'Deutsch',
    welcome: 'Schreiben Sie uns, was Sie wissen möchten, oder schicken Sie ein Foto oder ein Dokument.',
    language: 'Sprache',
    saved: 'Gespeichert',
    back: 'Zurück',
    received: 'Danke. Sie bekommen hier Antwort.',
  },
}

// The state is { language, topic }: the customer's, and the topic in which they are answered.
const wordsOf = ({ language }) => (Object.hasOwn(LANGUAGES, language) ? LANGUAGES[language] : LANGUAGES.en)

export async function answer(turn) {
  const { chat } = turn
  if (chat && chat.type !== 'private') {
    // Not in another group, and not talk beside the topics.
    if (chat.id === GROUP && chat.topic) await toCustomer(turn, chat.topic)
    return
  }
  // They opened the chat, or blocked the bot.
  if (turn.kind !== 'message' && turn.kind !== 'button') return
  turn.state.language ??= turn.sender?.language ?? 'en'
  if (turn.button) return press(turn)
  if (turn.command !== 'start') return toGroup(turn)
  // One menu at a time.
  turn.delete('menu')
  turn.reply({ ...menu(wordsOf(turn.state)), name: 'menu' })
}

function press(turn) {
  const [verb, language] = turn.button.split(' ')
  if (verb === 'languages') {
    const rows = Object.entries(LANGUAGES).map(([code, { name }]) => ({ label: name, data: `language ${code}` }))
    const words = wordsOf(turn.state)
    turn.editPressed(words.language, { buttons: [...rows, { label: words.back, data: 'menu' }] })
  } else if (verb === 'menu') {
    turn.editPressed(menu(wordsOf(turn.state)))
  } else if (verb === 'language') {
    turn.state.language = language
    const words = wordsOf(turn.state)
    turn.toast(words.saved)
    turn.editPressed(menu(words))
  }
}

function menu(words) {
  return { text: `**${words.welcome}**`, format: 'markup', buttons: [{ label: words.language, data: 'languages' }] }
}

/** What a customer says is copied into their topic. */
async function toGroup(turn) {
  const topic = turn.state.topic ?? await openTopic(turn)
  turn.call('copyMessage', {
    chat_id: GROUP,
    message_thread_id: Number(topic),
    from_chat_id: turn.userId,
    message_id: Number(turn.message),
  })
  turn.reply(wordsOf(turn.state).received, { silent: true })
}

/** Opens a topic for a customer who has none. */
async function openTopic(turn) {
  const name = `${turn.sender?.name ?? ''} (${turn.userId})`
  // It is opened at once. Should this turn fail after that, the next attempt opens another
  // one: the first stays empty, and nothing is lost.
  const opened = await turn.ask('createForumTopic', { chat_id: GROUP, name })
  const topic = String(opened.message_thread_id)
  turn.execute('INSERT INTO topics (topic, customer) VALUES (?1, ?2)', [topic, turn.userId])
  turn.state.topic = topic
  return topic
}

/** What is said in a topic goes to its customer. */
async function toCustomer(turn, topic) {
  const [row] = await turn.query('SELECT customer FROM topics WHERE topic = ?1', [topic])
  const files = turn.files.filter((file) => file.id)
  if (!row || (!turn.text && files.length === 0)) return
  turn.sendTo('telegram', row.customer, { text: turn.markup, format: 'markup', files })
}

run(answer)
