// Work that is repeated while it is wanted and the tab is seen: never twice at once, more rarely while it fails.

import { isAbort, RequestError } from "./wire.js";

const SLOWEST = 8000;

export class Poll {
  #work;
  #every;
  #timer = 0;
  #abort = null;
  #failures = 0;
  #wanted = false;

  /**
   * @param {(signal: AbortSignal) => Promise<void>} work throws when it fails
   * @param {number} every ms between the end of one and the begin of the next
   */
  constructor(work, every) {
    this.#work = work;
    this.#every = every;
    document.addEventListener("visibilitychange", () => this.#turn());
  }

  /** Begin, `first` ms from here on. */
  start(first = 0) {
    this.stop();
    this.#wanted = true;
    this.#failures = 0;
    if (!document.hidden) this.#timer = setTimeout(() => this.#run(), first);
  }

  stop() {
    this.#wanted = false;
    this.#pause();
  }

  #pause() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
  }

  #turn() {
    if (!this.#wanted) return;
    this.#pause();
    if (!document.hidden) this.#run();
  }

  async #run() {
    const abort = new AbortController();
    this.#abort = abort;
    let wait = this.#every;
    try {
      await this.#work(abort.signal);
      this.#failures = 0;
    } catch (error) {
      if (isAbort(error) && abort.signal.aborted) return;
      if (!(error instanceof RequestError)) reportError(error);
      this.#failures += 1;
      wait = Math.max(Math.min(this.#every * 2 ** (this.#failures - 1), SLOWEST), (error.after ?? 0) * 1000);
    }
    if (abort.signal.aborted) return;
    this.#abort = null;
    this.#timer = setTimeout(() => this.#run(), wait);
  }
}
