// The page: who asks, which view, which colours; ages tick by one clock.

import { Chat } from "./chat.js";
import { Dashboard } from "./dashboard.js";
import { setText } from "./dom.js";
import { keyForm, whoAsks } from "./gate.js";
import { ProfileView } from "./profile.js";
import { session } from "./session.js";
import { tick } from "./times.js";
import { connection } from "./wire.js";

const COLOURS = ["auto", "light", "dark"];
const STORED = "headrace.colours";
const WIDE = "(min-width: 60rem)";

const main = document.querySelector("#main");
const header = document.querySelector(".top");
const links = [...document.querySelectorAll("[data-view]")];
const who = whoAsks(document.querySelector("[data-testid=who]"));
const gate = keyForm();
let views = null;
let current = null;

document.body.append(who.node);
session.takeFromAddress();
colours(localStorage.getItem(STORED) ?? "auto");
watchConnection();
go();
setInterval(tick, 1000);

window.addEventListener("hashchange", () => {
  if (location.hash === "#main") {
    // The skip link's: it names a place within the view, not a view.
    history.replaceState(null, "", address());
    main.focus();
  } else if (!session.takeFromAddress()) go();
});
session.addEventListener("key", go);
session.addEventListener("refused", ({ detail }) => gate.tell(`The key is not good here: ${detail}`));

function go() {
  const open = Boolean(session.key);
  header.classList.toggle("closed", !open);
  if (!open) {
    current?.leave();
    current = null;
    main.replaceChildren(gate.node);
    document.title = "Headrace";
    gate.focus();
    return;
  }
  views ??= { chat: new Chat(), dashboard: new Dashboard(), profile: new ProfileView(who.open) };
  const name = /^#\/(\w+)/.exec(location.hash)?.[1];
  const view = Object.hasOwn(views, name ?? "") ? views[name] : views.chat;
  if (view === current) return;
  current?.leave();
  current = view;
  main.replaceChildren(view.node);
  view.enter();
  document.title = `${view.title} · Headrace`;
  for (const link of links) {
    if (views[link.dataset.view] === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view === views.chat && matchMedia(WIDE).matches) view.focus();
}

function address() {
  const name = Object.keys(views ?? {}).find((one) => views[one] === current) ?? "chat";
  return `#/${name}`;
}

function colours(chosen) {
  const button = document.querySelector("[data-testid=theme]");
  const show = (colour) => {
    if (colour === "auto") delete document.documentElement.dataset.colours;
    else document.documentElement.dataset.colours = colour;
    button.dataset.colours = colour;
    button.title = `Colours: ${colour === "auto" ? "as the device has them" : colour}`;
    button.setAttribute("aria-label", button.title);
  };
  let at = Math.max(0, COLOURS.indexOf(chosen));
  show(COLOURS[at]);
  button.addEventListener("click", () => {
    at = (at + 1) % COLOURS.length;
    localStorage.setItem(STORED, COLOURS[at]);
    show(COLOURS[at]);
  });
}

function watchConnection() {
  const state = document.querySelector("[data-testid=connection]");
  connection.addEventListener("down", () => setText(state, "server not reachable"));
  connection.addEventListener("up", () => setText(state, ""));
}
