"use strict";
// Asks /status again and again and shows what it says. All text goes in as text, never as markup: names, paths and
// errors come from strangers.
const PERIOD_MS = 2000, PATIENCE_MS = 10000, KEPT = 360;
const $ = (id) => document.getElementById(id);
const KINDS = { get: "download", put: "upload", pull: "pull", push: "push" };
const LIMITS = ["source", "network", "disk", "checksum", "queue"];
const LIMIT_WORDS = { source: "the other side", network: "network", disk: "disk", checksum: "checksums", queue: "queue" };

function bytes(count) {
  if (count === null || count === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) { count /= 1024; unit += 1; }
  return `${unit === 0 ? Math.round(count) : count.toFixed(count < 100 ? 1 : 0)} ${units[unit]}`;
}
const rate = (count) => count === null || count === undefined ? "–" : `${bytes(count)}/s`;

function span(seconds) {
  if (seconds < 0) seconds = 0;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds / 3600) % 24} h`;
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function cell(label, text, ...small) {
  const made = element("td", text);
  made.dataset.label = label;
  for (const line of small) if (line) made.append(element("small", line));
  return made;
}

function show(id, shown) { $(id).hidden = !shown; }

// A bar of parts: [[class, share], …], shares from 0 to 1.
function fill(bar, parts) {
  bar.replaceChildren(...parts.filter(([, share]) => share > 0).map(([name, share]) => {
    const part = element("i", "", name);
    part.style.width = `${share * 100}%`;
    return part;
  }));
}

function head(status) {
  document.title = `${status.pool_name}: ${status.health}`;
  $("pool").textContent = status.pool_name;
  const badge = $("health");
  if (badge.textContent !== status.health) badge.textContent = status.health;
  badge.className = `badge ${status.health}`;
  const runs = (Date.parse(status.now) - Date.parse(status.started_at)) / 1000;
  $("facts").textContent =
    `Penstock ${status.version} · running for ${span(runs)} · ${status.data_urls.join(" ")}`;
  show("problems-section", status.problems.length > 0);
  $("problems").replaceChildren(...status.problems.map((problem) => element("li", problem)));
}

function tiles(status) {
  const { load, space } = status;
  const list = [
    ["in", rate(load.bytes_in_per_second)],
    ["out", rate(load.bytes_out_per_second)],
    ["running", load.running],
    ["waiting", load.waiting],
    ["busiest thread", `${Math.round(load.busiest_shard * 100)} %`],
    ["buffers in use", `${Math.round(load.buffers_used * 100)} %`],
  ];
  if (space) list.push(["available", bytes(space.available)]);
  $("tiles").replaceChildren(...list.map(([name, value]) => {
    const tile = element("div");
    tile.append(element("dt", name), element("dd", value));
    return tile;
  }));
}

// 1, 2 or 5 times a power of ten of the unit in use, or 1 of the next unit: 1000 MiB and 2000 MiB are no round numbers.
function ceiling(value) {
  let unit = 1;
  while (value / unit >= 1024) unit *= 1024;
  const inUnit = value / unit;
  for (let power = 1; ; power *= 10)
    for (const step of [1, 2, 5]) {
      const round = step * power;
      if (round >= inUnit) return (round < 1000 ? round : 1024) * unit;
    }
}

function chart({ period_seconds: period, in: inwards, out: outwards }) {
  const top = ceiling(Math.max(1024, ...inwards, ...outwards));
  const line = (values) => values.map((value, index) => {
    const x = KEPT - values.length + index;
    return `${index ? "L" : "M"}${x} ${(100 - value / top * 100).toFixed(2)}`;
  }).join("");
  const set = (id, path) => $(id).setAttribute("d", path);
  set("line-in", line(inwards));
  set("line-out", line(outwards));
  set("area-in", inwards.length ? `${line(inwards)}L359 100L${KEPT - inwards.length} 100Z` : "");
  $("scale-top").textContent = rate(top);
  $("scale-middle").textContent = rate(top / 2);
  const mean = (values) => values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
  $("chart-words").textContent = inwards.length
    ? `mean of ${span(inwards.length * period)}: ${rate(mean(inwards))} in, ${rate(mean(outwards))} out`
    : "the first sample comes within ten seconds";
  const group = Math.round(300 / period), rows = [];
  for (let end = inwards.length; end > 0; end -= group) {
    const start = Math.max(0, end - group), row = element("tr");
    const ago = (index) => Math.round((inwards.length - index) * period / 60);
    row.append(element("td", `${ago(end)} to ${ago(start)}`), element("td", rate(mean(inwards.slice(start, end)))),
      element("td", rate(mean(outwards.slice(start, end)))));
    rows.push(row);
  }
  $("numbers").tBodies[0].replaceChildren(...rows);
}

function space(status) {
  const { space } = status;
  if (space) {
    const { total, used, reserved, available } = space;
    const words = `${bytes(available)} available of ${bytes(total)}; ${bytes(used)} used, ${bytes(reserved)} promised to uploads`;
    fill($("space-bar"), [["used", used / total], ["reserved", reserved / total]]);
    $("space-bar").setAttribute("aria-label", words);
    $("space-words").textContent = words;
  } else {
    $("space-words").textContent = "not known";
  }
  const scrub = status.scrub;
  const pass = !scrub ? "" : scrub.state === "running" ? `; scrub at ${(scrub.done * 100).toFixed(1)} %`
    : `; scrub ${scrub.state}, passes done: ${scrub.passes}`;
  $("replica-words").textContent = `${status.replicas} replicas: ${status.broken_replicas} broken, ` +
    `${status.suspect_replicas} suspect, ${status.orphaned_replicas} orphaned${pass}`;
}

// Who asked, from where, and whom the pool is connected with where that is somebody else.
function who(transfer) {
  const { subject, client, remote } = transfer;
  const same = remote && client && remote.replace("[", "").startsWith(client);
  return [subject || client || "unknown", subject ? client : null, remote && !same ? `with ${remote}` : null];
}

// Rates since the last look; at the first one, those since the start.
let seen = new Map(), seenAt = null;
function rates(status) {
  const now = Date.parse(status.now), seconds = seenAt === null ? 0 : (now - seenAt) / 1000;
  const found = new Map(), before = seen;
  const list = status.transfers.map((transfer) => {
    const { transfer: id, bytes_moved: moved, rate_bytes_per_second: mean } = transfer;
    found.set(id, moved);
    return before.has(id) && seconds > 0 ? Math.max(0, moved - before.get(id)) / seconds : mean;
  });
  [seen, seenAt] = [found, now];
  return list;
}

function transfers(status) {
  $("queues").textContent = status.queues
    .map((queue) => `${queue.name}: ${queue.running} of ${queue.limit} running, ${queue.waiting} waiting`).join(" · ");
  const speeds = rates(status);
  const rows = status.transfers.map((transfer, index) => {
    const row = element("tr");
    const of = transfer.bytes_requested;
    const moved = cell("moved", bytes(transfer.bytes_moved), of === null ? null : `of ${bytes(of)}`);
    if (of) {
      const bar = element("div", "", "bar");
      fill(bar, [["in-bar", Math.min(1, transfer.bytes_moved / of)]]);
      moved.append(bar);
    }
    const word = LIMIT_WORDS[transfer.limited_by] || "–";
    const shares = LIMITS.map((name) => [name, transfer.limits[name]]);
    const told = shares.filter(([, share]) => share >= 0.005)
      .map(([name, share]) => `${LIMIT_WORDS[name]} ${Math.round(share * 100)} %`).join(", ");
    const held = cell("held back by", word, told);
    const bar = element("div", "", "bar");
    bar.setAttribute("aria-hidden", "true");
    fill(bar, shares);
    held.append(bar);
    const [name, ...more] = who(transfer);
    const since = Date.parse(transfer.started_at || transfer.submitted_at);
    row.append(
      cell("what", `${KINDS[transfer.kind] || transfer.kind} ${transfer.path || transfer.replica}`, transfer.remote_url),
      cell("who", name, ...more),
      cell("state", transfer.state, Number.isNaN(since) ? null : `for ${span((Date.parse(status.now) - since) / 1000)}`),
      moved, cell("rate", rate(speeds[index])), held);
    return row;
  });
  $("transfers").tBodies[0].replaceChildren(...rows);
  show("transfers", rows.length > 0);
  show("no-transfers", rows.length === 0);
  show("more-transfers", status.transfers_omitted > 0);
  $("more-transfers").textContent = `and ${status.transfers_omitted} more`;
}

function failures(status) {
  const rows = status.failures.map((failure) => {
    const row = element("tr");
    const [name, ...more] = who(failure);
    const ago = (Date.parse(status.now) - Date.parse(failure.ended_at)) / 1000;
    row.append(
      cell("when", `${span(ago)} ago`, failure.ended_at.slice(0, 19).replace("T", " ") + " UTC"),
      cell("what", `${KINDS[failure.kind] || failure.kind} ${failure.path || failure.replica}`, failure.remote_url,
        `after ${bytes(failure.bytes_moved)}`),
      cell("who", name, ...more),
      cell("why", failure.why, failure.error ? `${failure.error.code}${failure.error.side ? `, ${failure.error.side}` : ""}` : null));
    return row;
  });
  $("failures").tBodies[0].replaceChildren(...rows);
  show("failures", rows.length > 0);
  show("no-failures", rows.length === 0);
}

let answeredAt = null;
async function look() {
  try {
    const answer = await fetch("/status", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const status = await answer.json();
    for (const part of [head, tiles, space, transfers, failures]) part(status);
    chart(status.history);
    answeredAt = new Date();
    show("silence", false);
  } catch (error) {
    const since = answeredAt ? `since ${answeredAt.toLocaleTimeString()}` : "yet";
    const words = `The pool has not answered ${since} (${error.message}). What is shown below may be old.`;
    if ($("silence").textContent !== words) $("silence").textContent = words;
    show("silence", true);
  }
}

async function watch() {
  // A page that nobody sees asks nothing.
  if (!document.hidden) await look();
  setTimeout(watch, PERIOD_MS);
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
watch();
