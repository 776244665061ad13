// The types of `turnkey`, for TypeScript and for editors.

/** The platform's own name of a picture, or where it can be fetched: at least one. */
export interface Picture {
  readonly id?: string
  readonly url?: string
}

/** What another system asks for (JSON-RPC 2.0). */
export interface Rpc {
  readonly method: string
  readonly params: unknown
}

export interface Update {
  /** The same one coming again is the same update. */
  readonly id: string
  readonly kind: 'message' | 'button' | 'opened' | 'rpc' | 'edited' | (string & {})
  /** The platform's own JSON, or a Buffer; only after `run(handle, { raw: true })`. */
  readonly raw: any
}

export interface Button {
  label: string
  data: string
}

/** A text, a picture with or without one, and buttons under it. It never changes. */
export class Reply {
  constructor(text?: string)
  /** A picture, by its address or by the platform's id of it. */
  static picture(picture: string): Reply
  /** The same with this text under the picture. */
  caption(text: string): Reply
  /** The same with one more button. `data` is what `turn.button` is when it is pressed. */
  button(label: string, data: string): Reply
  readonly text: string
  readonly picture?: string
  readonly buttons?: readonly Button[]
}

export type Replied = string | Reply | { text?: string, picture?: string, buttons?: readonly Button[] }

/** What SQL takes. */
export type Param = null | string | number | bigint | boolean | Uint8Array

/** What a column holds. Integers beyond 2^53 are BigInts, bytes are Buffers. */
export type Column = null | string | number | bigint | Buffer

/** One update of one user. What a handler does here takes effect when it ends well, all at once. */
export interface Turn<State extends object = Record<string, any>> {
  /** The user's state: data that JSON holds. `{}` for a new user; set it to null to forget them. */
  state: State
  /** The text, the caption or the data of a button; may be empty. */
  readonly text: string
  /** The command, `start` for `/start ref`. */
  readonly command: string | undefined
  /** What follows the command, `ref` for `/start ref`; empty if nothing does. */
  readonly argument: string
  /** The data of the button that was pressed. */
  readonly button: string | undefined
  /** The pictures that the user sent. */
  readonly pictures: readonly Picture[]
  /** What another system asks for. */
  readonly rpc: Rpc | undefined
  /** The user, as the channel names them. */
  readonly userId: string
  /** The channel, such as `telegram`. */
  readonly channel: string
  readonly update: Update
  /** Which attempt at this update this is, from 1. */
  readonly attempt: number
  /** Aborted when the turn takes longer than `--turn-timeout`: pass it to what waits. */
  readonly signal: AbortSignal
  /** Queues a reply: it is sent, in order, after the turn has ended well. */
  reply(reply: Replied): void
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

export interface Options {
  /** How many turns run at once, 1 to 65,536; 1000 by default. More wait in Turnkey. */
  concurrency?: number
  /** Have `turn.update.raw`, the platform's own JSON. */
  raw?: boolean
  /** Kinds of update to hear beside the usual ones. */
  hears?: readonly 'edited'[]
  /** How the log calls the process, at most 64 bytes; the bot's file by default. */
  name?: string
}

/** The bot's handler takes turns from Turnkey, until Turnkey has no more use for it. */
export function run<State extends object = Record<string, any>>(handle: Handler<State>, options?: Options): void

export {}

type Log = (format: unknown, ...values: unknown[]) => void

/** Lines for Turnkey's log, each with its level. */
export const log: { readonly error: Log, readonly warn: Log, readonly info: Log, readonly debug: Log }
