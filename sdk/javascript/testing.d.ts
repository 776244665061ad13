// The types of `turnkey/testing`.
import type {
  Chat, Column, Contact, DeadReply, File, Forwarded, Handler, Location, Param, Quoted, Said, Sender, Turn,
} from './index'

/** What a turn asked for, in the form in which it was written. A reply that is only a text is that text. */
export type Answer = string | Said

/** What answers SQL in place of SQLite. */
export interface Database {
  query(sql: string, params: Column[]): Record<string, Param>[] | Promise<Record<string, Param>[]>
  /** Runs all of them or none. */
  transaction(statements: [sql: string, params: Column[]][]): unknown
}

/** Users who talk to a handler, without a server. */
export class Conversation<State extends object = Record<string, any>> {
  constructor(handle: Handler<State>, options?: {
    /** `http` by default. */
    channel?: string
    /** A directory of .sql files, or the statements. */
    migrations?: string | URL | readonly string[]
    database?: Database
    /** Answers `turn.ask`; throws to refuse. */
    ask?: (method: string, params: any) => unknown
    /** The bytes of files, by their ids or addresses. */
    downloads?: Record<string, Uint8Array>
    /** That of `run`. */
    givenUp?: (turn: Turn<State>, error: string) => unknown
  })
  /** The user writes: what they are answered. Rejects with what the handler threw. */
  says(user: string, text: string): Promise<Answer[]>
  /** The user presses a button with this data: what they are answered. */
  presses(user: string, data: string): Promise<Answer[]>
  /** Anything else: what they are answered. */
  sends(user: string, update: {
    text?: string
    kind?: string
    event?: string
    markup?: string
    files?: File[]
    location?: Location
    contact?: Contact
    sender?: Partial<Sender>
    chat?: Partial<Chat>
    quoted?: Partial<Quoted>
    forwarded?: Partial<Forwarded>
    message?: string
    dialog?: string
    album?: string
    rpc?: { method: string, params?: unknown }
    timer?: { name?: string, due?: number, late?: number, data?: unknown }
    called?: { name?: string, at?: number, body?: unknown, media_type?: string, button?: string, by?: object }
    raw?: unknown
    attempt?: number
    lastAttempt?: boolean
    /** Why it is given up: what `givenUp` does then. */
    givenUp?: string
    /** What the attempt before has kept. */
    steps?: Record<string, unknown>
    update?: string
    /** The user has sent something else meanwhile: see `turn.newer`, which also resolves when they send while it waits. */
    newer?: boolean
    channel?: string
  }): Promise<Answer[]>
  /** The names of the user's timers that wait. */
  timers(user: string): string[]
  /** What the user's turns have said of their quick messages with `turn.overlap`, last; null if nothing holds. */
  overlap(user: string): string | null
  /**
   * The user's timer of this name is due, or their schedule, which stays: what they are told. A timer whose turn fails
   * stays, too, since the program tries such a turn again: fire it once more.
   */
  fires(user: string, name: string): Promise<Answer[]>
  /** A schedule that `run` was given as `every` is due, so many milliseconds ago: what is said to others then. */
  ticks(name: string, options?: { late?: number }): Promise<Answer[]>
  /** Somebody posts to an address that `turn.callback` gave: what its user is told then. */
  posts(address: string, body?: unknown, options?: { mediaType?: string }): Promise<Answer[]>
  /**
   * The user presses the button with this data, of a question that `turn.askIn` asked them: what the one who asked is told
   * then.
   */
  answers(user: string, data: string, options?: { sender?: Partial<Sender> }): Promise<Answer[]>
  /** What `turn.deadReplies` gives. */
  deadReplies: DeadReply[]
  /** What the last turn showed with `turn.draft`. */
  readonly drafts: readonly string[]
  /** What the last turn has kept with `turn.step`, by the steps' names; also one that failed. */
  readonly steps: Readonly<Record<string, any>>
  /** The user's state as the database has it, or with `{ channel: 'cron' }` a schedule's; undefined for a new user. */
  state(user: string, options?: { channel?: string }): State | null | undefined
}

/** A bot in the real program, on a free port, with a new database. */
export class Program {
  private constructor()
  /** Starts it: `arguments` are further ones of `turnkey run`. */
  static start(bot: string | URL, options?: { arguments?: string[], env?: Record<string, string> }): Promise<Program>
  readonly port: number
  /** What it has written so far: its log. */
  readonly log: string
  says(user: string, text: string): Promise<Answer[]>
  presses(user: string, data: string): Promise<Answer[]>
  sends(user: string, message: {
    text?: string, button?: string, id?: string, photo?: string, files?: File[], location?: Location, contact?: Contact
  }): Promise<Answer[]>
  /** Presses Ctrl-C and waits: it must end well. */
  stop(): Promise<void>
  /** Stops it and starts it again on the same database. */
  restart(): Promise<void>
}
