// The types of `turnkey`, for TypeScript and for editors.

export type FileType = 'photo' | 'document' | 'voice' | 'audio' | 'video' | 'video_note' | 'sticker' | 'animation'

/** What sort of update it is. Treat one that you do not know as you treat `opened`. */
export type Kind = 'message' | 'button' | 'opened' | 'joined' | 'left' | 'edited' | 'reaction' | 'inline' | 'payment' |
  'join_request' | 'business' | 'other' | 'rpc' | 'timer' | 'callback'

/** A file that a user sent: `turn.download` fetches it, and on the same platform a reply sends it again. */
export interface File {
  readonly type: FileType
  /** The platform's own name for it, such as Telegram's `file_id`. */
  readonly id?: string
  /** Where it can be fetched, mostly for a limited time. At least one of the two is there. */
  readonly url?: string
  /** Its name, as whoever sent it wrote it: no path that can be trusted. */
  readonly name?: string
  /** Such as `application/pdf`, as whoever sent it says. */
  readonly mediaType?: string
  /** Bytes, as the platform says. */
  readonly size?: number
}

/** A place on the earth, in degrees north and east. */
export interface Location {
  readonly latitude: number
  readonly longitude: number
  /** What is there, such as a café's name. */
  readonly title?: string
  /** Its postal address. */
  readonly address?: string
}

/** Somebody's telephone number. */
export interface Contact {
  readonly phone: string
  /** Whose it is. */
  readonly name?: string
  /** The platform's id of that person. It is the sender's own number only if this is `turn.userId`. */
  readonly userId?: string
}

/** The message that a message answers. */
export interface Quoted {
  /** The platform's id of it. */
  readonly message: string
  /** Its text, or the part that was quoted; empty where the platform does not say. */
  readonly text: string
  /** The id of whoever wrote it. */
  readonly sender?: string
}

/** Where a forwarded message comes from. */
export interface Forwarded {
  /** The id of whoever wrote it first, unless that is hidden. */
  readonly id?: string
  /** Their name, or that of the channel or group. */
  readonly name: string
}

/** Who sent it. Their id is `turn.userId`. */
export interface Sender {
  readonly name: string
  /** The user name, without `@`. */
  readonly username?: string
  /** The language of their app, such as `de` or `pt-br`. */
  readonly language?: string
}

/** The conversation that a message is part of. */
export interface Chat {
  readonly id: string
  readonly type: 'private' | 'group' | 'channel'
  readonly title?: string
  /** The topic within it. */
  readonly topic?: string
  /** The id that this group had until it became a supergroup, in the message that says so. */
  readonly was?: string
}

/** What another system asks for (JSON-RPC 2.0). */
export interface Rpc {
  readonly method: string
  readonly params: unknown
}

export interface Update {
  /** The same one coming again is the same update. */
  readonly id: string
  readonly kind: Kind | (string & {})
  /** The platform's own JSON, or a Buffer; only after `run(handle, { raw: true })`. */
  readonly raw: any
}

/** A button; each does one thing. */
export type Button =
  /** `data` is what `turn.button` is when it is pressed. */
  | { label: string, data: string }
  /** Opens a page. */
  | { label: string, url: string }
  /** Opens a page within the app (Telegram's web apps). */
  | { label: string, webApp: string }
  /** Offers a call to this number. */
  | { label: string, phone: string }
  /** Asks the user for their telephone number, or where they are. */
  | { label: string, request: 'contact' | 'location' }

/** A row of buttons; one alone is a row of its own. */
export type Row = Button | readonly Button[]

/** On a keyboard, a text is said as if the user had written it. */
export type Key = string | { label: string } | Button

/**
 * A file that is sent: an address, an absolute path of the box, the platform's id (any other text), a URL, a file of
 * `turn.files`, or bytes, which need a name and are kept with the turn: 1 MiB at most.
 */
export type Source = string | URL | File | Attachment

export type Attachment = { type?: FileType, name?: string, mediaType?: string } &
  ({ url: string | URL } | { id: string } | { path: string } | { data: Uint8Array, name: string })

/** A message: the name that a reply had, true for the one of this turn, or the platform's id. */
export type Target = string | true | { message: string }

export interface ReplyOptions {
  /** `markup` is CommonMark; `plain` by default. */
  format?: 'plain' | 'markup' | 'html'
  photo?: Source | readonly Source[]
  document?: Source | readonly Source[]
  voice?: Source | readonly Source[]
  audio?: Source | readonly Source[]
  video?: Source | readonly Source[]
  videoNote?: Source | readonly Source[]
  sticker?: Source | readonly Source[]
  animation?: Source | readonly Source[]
  /** Files of any type, documents if they do not say; several are an album where the platform has them. */
  files?: readonly Source[]
  location?: Location
  contact?: Contact
  buttons?: readonly Row[]
  /** In place of the user's own keyboard, until another reply changes it. */
  keyboard?: readonly (Key | readonly Key[])[]
  /** The keyboard goes after one press. */
  once?: boolean
  /** The user's own keyboard comes back. */
  removeKeyboard?: boolean
  /** The message that it answers: true for the user's. */
  quote?: Target | false
  /** It makes no sound. */
  silent?: boolean
  /** No preview of the pages that it links to. */
  noPreview?: boolean
  /** It can be neither forwarded nor saved. */
  protected?: boolean
  /** What `turn.edit` and `turn.delete` call the message, also in later turns. */
  name?: string
}

/** A text, files with or without one, a place, a contact; and buttons under it. It never changes. */
export class Reply {
  constructor(text?: string, options?: ReplyOptions)
  /** The same with one more button, in a row of its own. `data` is what `turn.button` is when it is pressed. */
  button(label: string, data: string): Reply
  /** The same with one more row of buttons. */
  row(...buttons: Button[]): Reply
  readonly text: string
  readonly buttons?: readonly Row[]
}

export type Replied = Reply | ReplyOptions & { text?: string }

/** A text with its options, or a reply that has them. */
export type Say = [text: string, options?: ReplyOptions] | [reply: Replied]

/**
 * What a turn asked for, in the form in which it was written: with `edit`, `delete`, `toast`, `call`, `sendTo` or `askIn` it is
 * no reply, but that.
 */
export interface Said {
  text?: string
  format?: 'markup' | 'html'
  files?: { type: FileType, url?: string, id?: string, path?: string, data?: Buffer, name?: string, mediaType?: string }[]
  location?: Location
  contact?: Contact
  /** A row of one button is that button. */
  buttons?: (Button | Button[])[]
  keyboard?: (Key | Key[])[]
  once?: boolean
  removeKeyboard?: boolean
  quote?: Target
  silent?: boolean
  noPreview?: boolean
  protected?: boolean
  name?: string
  edit?: Target
  delete?: Target
  toast?: string
  alert?: boolean
  call?: string
  params?: any
  sendTo?: { channel: string, user: string }
  askIn?: { channel: string, user: string, name: string, valid?: string | number }
  /** From a Program: which parts of the text look how, by their bytes. */
  spans?: { start: number, end: number, style: any }[]
}

/** A reply, or another action, that was given up. */
export interface DeadReply {
  /** What was to be done. A reply that is only a text is that text. */
  readonly action: string | Said
  /** Why it was not, the last time. */
  readonly error: string
  readonly died: Date
}

/** A text in markup that shows just that. */
export function escapeMarkup(text: string): string

/** What SQL takes. */
export type Param = null | string | number | bigint | boolean | Uint8Array

/** What a column holds. Integers beyond 2^53 are BigInts, bytes are Buffers. */
export type Column = null | string | number | bigint | Buffer

/** A timer that is due. */
export interface Timer {
  /** The name that it was set under. */
  name: string
  /** When it was to be due. */
  due: Date
  /** How many milliseconds after that it fired: few in most cases, hours' worth if nothing ran. */
  late: number
  /** What it was set with; null if with nothing. */
  data: any
}

/** Somebody came with a callback's address, or pressed a button of a question. */
export interface Called {
  /** The name that it was opened under. */
  name: string
  at: Date
  /**
   * What was posted: the JSON, if it is JSON; else the text, or a Buffer if it is no text. null if nothing was, or a button
   * was pressed.
   */
  body: any
  /** Of what sort the body is, as whoever posted it says; may be empty. */
  mediaType: string
  /** The data of the button that was pressed; undefined if it was an address. */
  button?: string
  /** Who pressed it. */
  by?: {
    /** On which channel. */
    channel: string
    /** In which dialog: `turn.sendTo` takes it. */
    dialog: string
    /** The user, as the channel names them. */
    user: string
    /** Name and user name, as far as the platform tells. */
    sender?: Sender
  }
}

/** One update: what the user wrote, sent, pressed. */
export interface Heard {
  /** The text, the caption or the data of a button; may be empty. */
  readonly text: string
  /** What sort of update it is; `run(handle, { hears })` says which there are. */
  readonly kind: Kind | (string & {})
  /** The platform's own name for what happened, such as Telegram's `my_chat_member`; may be empty. */
  readonly event: string
  /** The text with its formatting, as `format: 'markup'` takes it. */
  readonly markup: string
  /** The command, `start` for `/start ref`. */
  readonly command: string | undefined
  /** What follows the command, `ref` for `/start ref`; empty if nothing does. */
  readonly argument: string
  /** The data of the button that was pressed. */
  readonly button: string | undefined
  /** The files that the user sent, photos included. */
  readonly files: readonly File[]
  /** The photos that the user sent: each is there once, in the largest size that there is. */
  readonly photos: readonly File[]
  /** The place that the user sent. */
  readonly location: Location | undefined
  /** The telephone number that the user sent. */
  readonly contact: Contact | undefined
  /** The message that this one answers. */
  readonly quoted: Quoted | undefined
  /** Where it comes from, if it was forwarded. */
  readonly forwarded: Forwarded | undefined
  /** The user's name, user name and language, as far as the platform tells. */
  readonly sender: Sender | undefined
  /** The conversation; undefined where a platform has only private ones. */
  readonly chat: Chat | undefined
  /** The platform's id of the message: of this one, or of the one whose button was pressed. */
  readonly message: string
  /** The same for all messages that were sent together; mostly empty. */
  readonly album: string
  /** The timer that is due, if that is what this is about: of the kind `timer`. */
  readonly timer: Timer | undefined
  /** Who came with the address of a callback, or pressed a button of a question: of the kind `callback`. */
  readonly called: Called | undefined
  /** What another system asks for. */
  readonly rpc: Rpc | undefined
  readonly update: Update
}

/** One update of one user. What a handler does here takes effect when it ends well, all at once. */
export interface Turn<State extends object = Record<string, any>> extends Heard {
  /** The user's state: data that JSON holds. `{}` for a new user; set it to null to forget them. */
  state: State
  /**
   * The messages that this turn handles, in order: one, unless `overlap` makes one turn of several.
   * Then `text` has their texts, each with a line of its own, and `files` all files (with `latest`: the newest's).
   */
  readonly updates: readonly Heard[]
  /** The user, as the channel names them. */
  readonly userId: string
  /** What this dialog is called: the user, or, in a group, what `dialogBy` says. `sendTo` takes it. */
  readonly dialogId: string
  /** Why nothing reaches this user any more, if that is what this turn is about. */
  readonly unreachable: string | undefined
  /** The channel, such as `telegram`. */
  readonly channel: string
  /** Which attempt at this update this is, from 1. */
  readonly attempt: number
  /** Whether this is the last attempt at this update: after another failure it is given up. */
  readonly isLastAttempt: boolean
  /** Aborted when the turn takes longer than `--turn-timeout`, or is interrupted: pass it to what waits. */
  readonly signal: AbortSignal
  /** Queues a reply: it is sent, in order, after the turn has ended well. */
  reply(...reply: Say): void
  /** Puts this in the place of the message that had this name, in this turn or an earlier one. */
  edit(message: Target, ...reply: Say): void
  /** As `edit`, the message whose button was pressed. */
  editPressed(...reply: Say): void
  /** Takes a message away. */
  delete(message: Target): void
  /** Shows a few words over the chat to whoever pressed a button; with `alert` in a window that they must close. */
  toast(text: string, options?: { alert?: boolean }): void
  /** Calls any method of the platform, in order with the replies. The message that it sends has this name. */
  call(method: string, params?: object, options?: { name?: string }): void
  /** Says something to another dialog, in that dialog's order. `user` is what `turn.dialogId` is there. */
  sendTo(channel: string, user: string, ...reply: Say): void
  /**
   * Sets a timer of this dialog: once that time has passed since the end of this turn, a turn of the kind `timer` runs,
   * and `turn.timer` has the name and the data. It is part of this turn's transaction, and survives restarts. One of the
   * same name is replaced. `delay` is a text such as `'10m'`, with the units ms, s, m, h and d; or milliseconds. A name
   * has 1 to 64 bytes, and no timer is more than ten years off: what is not so, and a text that is no time, throws here.
   * More than 100 timers of a dialog fail the turn.
   */
  after(delay: string | number, name: string, data?: unknown): void
  /** As `after`, at a moment of the wall clock: a Date, or milliseconds since 1970. One that is past is due at once. */
  at(moment: Date | number, name: string, data?: unknown): void
  /**
   * Sets a timer that comes again and again, until it is cancelled: at the moments of a cron expression (minute, hour,
   * day of the month, month, day of the week) in a time zone. Otherwise as `after`. Where the zone's clock is set, each
   * moment still comes once; what came while nothing ran comes once at the next start.
   */
  every(cron: string, zone: string, name: string, data?: unknown): void
  /** Takes a timer or schedule of this dialog away, if there is one of this name. */
  cancel(name: string): void
  /**
   * Does something that costs, such as a payment: calls `body` and keeps its result at once. A later attempt at this
   * update is given the result, and does not call it. It is called at least once: it is called again if the process dies
   * before the result is kept. The result is what JSON holds. What `body` throws is not kept. The names of a turn's steps
   * differ. Once the first result is kept the update is in the inbox, its platform is answered, and a caller of
   * `POST /http` waits through the attempts; a failure before that, `body`'s own for one, is answered to that caller with
   * 503, and is not tried again. The commit takes the steps away; an update that is given up keeps them.
   */
  step<Result>(name: string, body: () => Result | Promise<Result>): Promise<Result>
  /**
   * From the end of this turn on, what becomes of messages of this dialog that come shortly after each other; null is again
   * what `run` was given. It is part of this turn's transaction, and holds until it is said anew, or the dialog is forgotten.
   */
  overlap(overlap: Overlap | null): void
  /**
   * A one-time address under `--public-url`, for a payment provider, say, or a long job: who posts to it starts a turn of the
   * kind `callback` in this dialog, and `turn.called` has the name and what was posted. It is open once this turn is
   * committed, for seven days or as long as `valid` says, at most a year: a text such as `'2d'`, or milliseconds. Whoever has
   * the address may post to it.
   */
  callback(name: string, options?: { valid?: string | number }): string
  /**
   * Asks something of another dialog, such as the bot's owner: the first press of one of the question's buttons, by whoever is
   * in that conversation, comes back as a turn of the kind `callback` in this dialog, and `turn.called` has the name, the
   * data of the button and who pressed it. A question is one message, with a button that has data.
   */
  askIn(channel: string, user: string, question: string | Replied, name: string, options?: ReplyOptions & { valid?: string | number }): void
  /** Shows a text that still grows, until the turn's reply takes its place: best effort, every second and a half. */
  draft(text: string): void
  /** The replies of this dialog that were given up, the oldest first; at most 1,000. */
  deadReplies(): Promise<DeadReply[]>
  /**
   * Resolves once the user has sent something newer in this dialog, to whichever worker: a handler that is busy for long
   * can look for itself whether it goes on. What it replies then is this turn's end all the same; the newer update has
   * a turn of its own. To be called again with both there is the overlap `interrupt`. By `POST /http` nothing newer comes.
   */
  newer(): Promise<void>
  /** Whether `newer` would resolve at once. At the first look what came before may not be known yet; from then on it is. */
  hasNewer(): Promise<boolean>
  /** Calls a method of the platform now: its result. It is no part of the turn. */
  ask<Result = any>(method: string, params?: object): Promise<Result>
  /** Fetches a file that the user sent, at most `limit` bytes (20 MiB by default): its bytes. */
  download(file: File, options?: { limit?: number, path?: undefined }): Promise<Buffer>
  /** The same into a file of the box that does not exist yet: the bytes written. */
  download(file: File, options: { limit?: number, path: string }): Promise<number>
  /** Queues a statement of your own SQL, with parameters `?1`, `?2` …: it runs in the turn's transaction. */
  execute(sql: string, params?: readonly Param[]): void
  /** Asks your own tables. Statements that this turn has queued are not yet seen. */
  query<Row extends object = Record<string, any>>(sql: string, params?: readonly Param[]): Promise<Row[]>
}

/** Thrown by a handler: the turn changes nothing, and is tried again after `seconds`. */
export class Retry extends Error {
  constructor(seconds: number, message?: string, options?: { cause?: unknown })
  readonly seconds: number
}

/** Thrown by a handler: the turn changes nothing, and is never tried again. */
export class GiveUp extends Error {
  constructor(message?: string, options?: { cause?: unknown })
}

export type Handler<State extends object = Record<string, any>> = (turn: Turn<State>) => unknown

export type Overlap = 'each' | 'albums' | 'latest' | 'interrupt' | `burst ${number}ms` | `burst ${number}s` | `burst ${number}m`

export interface Options<State extends object = Record<string, any>> {
  /** How many turns run at once, 1 to 65,536; 1000 by default. More wait in Turnkey. */
  concurrency?: number
  /** Have `turn.update.raw`, the platform's own JSON. */
  raw?: boolean
  /** The kinds of update to be given, and no others; by default messages, buttons, opened, joined and left. */
  hears?: readonly Exclude<Kind, 'rpc' | 'timer' | 'callback'>[]
  /** What has a state of its own in a group; `user_in_chat` by default. */
  dialogBy?: 'user' | 'chat' | 'user_in_chat'
  /**
   * What becomes of messages of one user that come shortly after each other: `each` a turn of its own, the default;
   * `albums`: one for the parts of an album; `burst 1500ms`: one for all that come until the user has been quiet for
   * so long; `latest`: one for the newest of those that came during the turn before; `interrupt`: a message that comes
   * while the handler runs aborts `turn.signal`, and once that run has ended the handler is called again with both.
   * `{ telegram: 'burst 1500ms', '*': 'each' }` says it by channel.
   */
  overlap?: Overlap | { readonly [channel: string]: Overlap }
  /**
   * The bot's own schedules, by their names: a cron expression and a time zone, `{ digest: ['0 9 * * MON', 'Europe/Vienna'] }`.
   * Each runs a turn of the kind `timer`, of a dialog of its own on the channel `cron`; what is left out is gone at the
   * next start.
   */
  every?: Record<string, readonly [cron: string, zone: string]>
  /**
   * Called when an update is given up, with its turn and why: what it does with the turn, such as telling the user, is
   * done once, together with the end of the update. Should it fail, the update is given up all the same.
   */
  givenUp?: (turn: Turn<State>, error: string) => unknown
  /** How the log calls the process, at most 64 bytes; the bot's file by default. */
  name?: string
}

/** The bot's handler takes turns from Turnkey, until Turnkey has no more use for it. */
export function run<State extends object = Record<string, any>>(handle: Handler<State>, options?: Options<State>): void

export {}

type Log = (format: unknown, ...values: unknown[]) => void

/** Lines for Turnkey's log, each with its level. */
export const log: { readonly error: Log, readonly warn: Log, readonly info: Log, readonly debug: Log }
