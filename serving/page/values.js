// Values of rows and profiles, written for people.

const number = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 4 });
const count = new Intl.NumberFormat("en-GB");

const WHOLE = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::(\d\d)(?:\.(\d+))?)?(?:Z|\+00:00)$/;

/** Any plain value as text, exactly; times of the source without the zeros that say nothing. */
export function written(value) {
  if (value === undefined) return "unknown";
  if (value === null || value === "") return "none";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map(written).join(", ");
  if (typeof value === "object") {
    if ("value" in value) return written(value.value);
    return Object.entries(value)
      .map(([name, one]) => `${called(name)}: ${written(one)}`)
      .join("; ");
  }
  const time = WHOLE.exec(value);
  if (!time) return String(value);
  const [, day, minute, seconds = "00", fraction = ""] = time;
  const rest = fraction.replace(/0+$/, "");
  return `${day} ${minute}${seconds !== "00" || rest ? `:${seconds}` : ""}${rest ? `.${rest}` : ""} UTC`;
}

/** A column's or a KPI's name as words. */
export function called(name) {
  return name.replaceAll("_", " ");
}

/** A count with thousands apart. */
export function counted(value) {
  return value === null || value === undefined ? "–" : count.format(value);
}

/** A KPI's value as its newest one is written: shares in percent. */
export function measured(value, kpi) {
  if (value === null || value === undefined) return "–";
  if (kpi.aggregate === "share" && !kpi.unit) return `${(value * 100).toFixed(1)} %`;
  return `${Math.abs(value) >= 1000 ? count.format(Math.round(value)) : number.format(value)} ${kpi.unit ?? ""}`.trim();
}

/** `1 item`, `2 items`. */
export function some(n, one, many = `${one}s`) {
  return `${counted(n)} ${n === 1 ? one : many}`;
}
