// What is known of the whole: sources, KPIs, alerts, dead letters.

import { alerts, letters } from "./alerts.js";
import { el } from "./dom.js";
import { kpis } from "./kpis.js";
import { sources } from "./sources.js";

export class Dashboard {
  title = "Dashboard";

  constructor() {
    this.panels = [sources(), alerts(), kpis(), letters()];
    this.node = el(
      "section",
      { class: "dashboard", "aria-labelledby": "dashboard-title" },
      el("h1", { id: "dashboard-title", class: "unseen", text: "Dashboard" }),
      ...this.panels.map((panel) => panel.node),
    );
  }

  enter() {
    for (const panel of this.panels) panel.poll.start();
  }

  leave() {
    for (const panel of this.panels) panel.poll.stop();
  }
}
