// Who asks: the application's key, kept for this tab, and the person's token, kept in memory only.

import { now, observe } from "./times.js";
import { events, RequestError, send } from "./wire.js";

const STORED = "headrace.key";
const RENEWED = 0.8; // of the time that a token is good
const SOONEST = 2000;

class Session extends EventTarget {
  key = sessionStorage.getItem(STORED) ?? "";
  person = null; // {label, id, token, expires, signed}
  #renewing = 0;

  /** Take a key out of the address, if there is one, so that it stays in no history; whether there was. */
  takeFromAddress() {
    const found = /^#key=([^&]+)/.exec(location.hash);
    if (!found) return false;
    history.replaceState(null, "", `${location.pathname}${location.search}#/chat`);
    let key = found[1];
    try {
      key = decodeURIComponent(key);
    } catch {
      // It is as it is: no key has a percent sign.
    }
    this.setKey(key);
    return true;
  }

  setKey(key) {
    this.key = key;
    if (key) sessionStorage.setItem(STORED, key);
    else sessionStorage.removeItem(STORED);
    this.#become(null);
    this.dispatchEvent(new Event("key"));
  }

  /** Ask for a person: by an address, a number or an id, for which the server signs a token. */
  async signIn(label) {
    const signed = await this.#sign(label);
    this.#become(signed);
  }

  /** Ask for a person by a token that the application has signed. */
  async useToken(token) {
    const claims = claimsOf(token);
    await send("GET", "profiles/me", { key: this.key, token }).catch((error) => {
      // That there is no profile, or that the key may not see it, says that the token itself is believed.
      if (error.status !== 404 && error.status !== 403) throw error;
    });
    const id = typeof claims.sub === "string" ? claims.sub : "a person";
    this.#become({ label: id, id, token, expires: (Number(claims.exp) || 0) * 1000, signed: false });
  }

  signOut() {
    this.#become(null);
  }

  /** A request of whoever asks; what the server answers, as JSON. */
  async json(method, path, body, signal) {
    return (await this.#request(method, path, { body, signal })).json();
  }

  async blob(path, signal, accept) {
    return (await this.#request("GET", path, { signal, accept })).blob();
  }

  async *stream(path, body, signal) {
    const response = await this.#request("POST", path, { body, signal, accept: "text/event-stream" });
    yield* events(response.body);
  }

  async #request(method, path, given) {
    const { key, person } = this;
    try {
      return await send(method, path, { ...given, key, token: person?.token });
    } catch (error) {
      if (error.status !== 401 || key !== this.key) throw error;
      if (person && person === this.person) await this.#renew(person);
      if (this.person && this.person !== person) return send(method, path, { ...given, key, token: this.person.token });
      if (!person) this.#refuse(error);
      throw error;
    }
  }

  async #sign(label) {
    const told = await send("POST", "tokens", { key: this.key, body: { person: label } });
    const { token, person, expires_at: expires } = await told.json();
    const date = told.headers.get("Date");
    if (date) observe(date);
    return { label, id: person, token, expires: Date.parse(expires), signed: true };
  }

  /** Get a new token in place of one that ends; if that cannot be, nobody is asked for. */
  async #renew(person) {
    try {
      if (!person.signed) throw new RequestError(401, "token", "", "");
      const signed = await this.#sign(person.label);
      if (this.person !== person) return;
      if (signed.id === person.id) this.#keep(signed);
      else this.#become(signed);
    } catch (error) {
      if (this.person !== person) return;
      if (error.status === 0) this.#later(person, 5000);
      else {
        this.#become(null);
        this.dispatchEvent(new CustomEvent("expired", { detail: person.label }));
        if (error.status === 401 && person.signed) this.#refuse(error);
      }
    }
  }

  #refuse(error) {
    this.setKey("");
    this.dispatchEvent(new CustomEvent("refused", { detail: error.detail }));
  }

  #become(person) {
    const before = this.person?.id ?? "";
    this.#keep(person);
    if ((person?.id ?? "") !== before) this.dispatchEvent(new Event("person"));
  }

  #keep(person) {
    clearTimeout(this.#renewing);
    this.person = person;
    if (person?.signed) this.#later(person, Math.max(SOONEST, (person.expires - now()) * RENEWED));
  }

  #later(person, ms) {
    this.#renewing = setTimeout(() => this.#renew(person), Math.min(ms, 2 ** 31 - 1));
  }
}

function claimsOf(token) {
  try {
    const bytes = Uint8Array.from(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")), (c) =>
      c.charCodeAt(0),
    );
    return JSON.parse(new TextDecoder().decode(bytes)) ?? {};
  } catch {
    throw new RequestError(0, "token", "This is not a token.", "It has three parts with dots between them.");
  }
}

export const session = new Session();
