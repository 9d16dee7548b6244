// The console: asks what everybody can ask, shows it, and offers operators their actions.
import {depth, lines, short} from '/console/charts.js';

const KEPT = 120;
const $ = (id) => document.getElementById(id);
const history = {requests: [], orders: [], trades: [], p50: [], p99: [], p999: []};
let before = null;
let shards = [];

// --- asking -----------------------------------------------------------------------------------------------------

function headers(extra) {
  const key = sessionStorage.getItem('key');
  return key ? {...extra, authorization: `Bearer ${key}`} : extra;
}

class Refused extends Error {
  constructor(status, body) {
    super(body?.message ?? `HTTP ${status}`);
    this.status = status;
    this.body = body;
  }
}

// Health answers 503 with the same document as 200: that is an answer, not a failure to answer. An act that answers so
// was not done everywhere.
async function ask(path, options = {}) {
  const limit = options.method === 'POST' ? 60_000 : 5_000;
  const answer = await fetch(path, {...options, headers: headers(options.headers ?? {}), signal: AbortSignal.timeout(limit)});
  const body = await answer.json().catch(() => null);
  if (answer.ok || (answer.status === 503 && options.method !== 'POST' && body && !body.error)) return body;
  throw new Refused(answer.status, body);
}

function post(path, body) {
  return ask(path, {method: 'POST', headers: {'content-type': 'application/json'}, body: JSON.stringify(body)});
}

// --- showing ----------------------------------------------------------------------------------------------------

function cell(content, kind = '') {
  const made = document.createElement('td');
  made.className = kind;
  made.append(...(Array.isArray(content) ? content : [content ?? '–']));
  return made;
}

// Rows are replaced only when they changed: a reader of the page is not interrupted, and a focus stays where it is.
function rows(id, all) {
  const made = all.map((cells) => { const row = document.createElement('tr'); row.append(...cells); return row; });
  const body = $(id);
  if (made.length === 0) {
    const none = cell('none', 'quiet');
    none.colSpan = body.parentElement.querySelectorAll('th').length;
    const row = document.createElement('tr');
    row.append(none);
    made.push(row);
  }
  if (body.innerHTML !== made.map((row) => row.outerHTML).join('')) body.replaceChildren(...made);
}

function span(text, kind) {
  const made = document.createElement('span');
  made.className = kind;
  made.textContent = text;
  return made;
}

const KINDS = {ok: 'ok', standard: 'ok', degraded: 'warn', failsafe: 'warn', continuous: 'ok', halted: 'bad', refused: 'warn'};
const kind = (status) => KINDS[status] ?? 'bad';
const micros = (value) => {
  if (value === null || value === undefined) return '–';
  return value >= 10_000 ? `${short(value / 1000)} ms` : `${short(value)} µs`;
};
const bytes = (value) => (value === null || value === undefined ? '–' : `${(value / 1048576).toFixed(1)} MiB`);

function share(part, whole) {
  const meter = document.createElement('meter');
  meter.max = Math.max(whole, 1);
  meter.high = meter.max * 0.8;
  meter.value = part;
  meter.setAttribute('aria-hidden', 'true');
  return meter;
}

function showHealth(health) {
  const pill = $('status');
  if (pill.textContent !== health.status) pill.textContent = health.status;
  pill.className = `pill ${kind(health.status)}`;
  document.title = `${health.status} – Hive Mind`;
  $('asked').textContent = `${health.instance}, version ${health.version}`;
  const reasons = health.reasons.map((reason) => { const item = document.createElement('li'); item.textContent = reason; return item; });
  if ($('reasons').textContent !== health.reasons.join('')) $('reasons').replaceChildren(...reasons);
  rows('instances', health.instances.map((one) => {
    const parts = Object.entries(one.components).flatMap(([name, part], index) => {
      const told = part.error ? `${name}: ${part.error}` : name;
      return [index ? ', ' : '', span(told, part.status === 'ok' ? '' : kind(part.status))];
    });
    const status = span(one.status, kind(one.status));
    return [cell(one.instance ?? one.target), cell([status]), cell(one.error ? [span(one.error, 'bad')] : parts, 'wrap'),
      cell(one.version), cell(one.latency_us ? micros(one.latency_us) : 'itself', 'n')];
  }));
}

function showConsensus(told) {
  shards = told.shards;
  const paused = told.policy?.paused ? `Elections are paused by ${told.policy.actor}: ${told.policy.reason}. ` : '';
  const store = told.store ? `The ${told.store.kind} store ${told.store.healthy ? 'answers' : 'does not answer'}.` : '';
  $('elections').textContent = `${paused}${store}${told.reason ? ` ${told.reason}` : ''}`;
  rows('shards', told.shards.map((one) => {
    const move = document.createElement('button');
    move.type = 'button';
    move.dataset.act = 'force-election';
    move.dataset.shard = one.shard;
    move.textContent = 'Move…';
    move.setAttribute('aria-label', `Move the leadership of shard ${one.shard}`);
    const standbys = one.standbys.map((other) => `${other.engine} (${other.role}${other.lag === null ? '' : `, ${other.lag} behind`})`);
    const lease = one.lease_ttl_ms === null ? '–' : 'held';
    return [cell(String(one.shard)), cell(one.leader_id ? one.leader_id : [span('nobody', 'bad')]), cell(String(one.term ?? '–'), 'n'),
      cell(lease, 'n'), cell(String(one.commit_index ?? '–'), 'n'), cell(standbys.join(', ') || 'none', 'wrap'), cell([move])];
  }));
}

function showPools(told) {
  rows('pools', told.pools.map((one) => [
    cell(one.instance), cell(`${one.name} (${one.database})`), cell([share(one.in_use, one.max), ` ${one.in_use} of ${one.max}`]),
    cell(String(one.size), 'n'), cell(one.waiters ? [span(String(one.waiters), 'bad')] : '0', 'n'), cell(String(one.timeouts_total), 'n'),
    cell(micros(one.acquire_p99_us), 'n'), cell(one.last_error ? [span(one.last_error, 'warn')] : '–', 'wrap')]));
}

function showMemory(told) {
  rows('memory', told.instances.map((one) => {
    const memory = one.memory ?? {};
    const largest = Object.entries(memory.components ?? {}).sort((a, b) => b[1] - a[1]).slice(0, 4);
    return [cell(one.instance ?? one.target), cell(bytes(memory.rss), 'n'), cell(bytes(memory.allocator?.allocated), 'n'),
      cell(memory.profiling_enabled ? 'on' : 'off'), cell(one.error ?? (largest.map(([name, size]) => `${name} ${bytes(size)}`).join(', ') || '–'), 'wrap')];
  }));
}

// --- flow: the difference of two answers ----------------------------------------------------------------------------

function difference(now, then) {
  if (!then || now.count < then.count) return now;
  return {count: now.count - then.count, sum_us: now.sum_us - then.sum_us,
    buckets: now.buckets.map(([bound, count], at) => [bound, count - (then.buckets[at]?.[1] ?? 0)])};
}

// As Prometheus' histogram_quantile.
function quantile(latencies, wanted) {
  if (latencies.count === 0) return null;
  const rank = wanted * latencies.count;
  let [below, counted] = [0, 0];
  for (const [bound, count] of latencies.buckets) {
    if (count >= rank && count > counted) return below + (bound - below) * Math.max(0, (rank - counted) / (count - counted));
    [below, counted] = [bound, count];
  }
  return below;
}

function merge(all) {
  const sum = {count: 0, sum_us: 0, buckets: []};
  for (const one of all) {
    sum.count += one.count;
    sum.sum_us += one.sum_us;
    one.buckets.forEach(([bound, count], at) => { sum.buckets[at] = [bound, (sum.buckets[at]?.[1] ?? 0) + count]; });
  }
  return sum;
}

function keep(name, value) {
  history[name].push(value);
  if (history[name].length > KEPT) history[name].shift();
}

function showActivity(told) {
  const now = new Map(told.instances.filter((one) => one.activity).map((one) => [one.instance, one.activity]));
  if (before) drawFlow(now, before);
  before = now;
}

function drawFlow(now, then) {
  const pairs = [...now].filter(([name]) => then.has(name)).map(([name, one]) => [one, then.get(name)]);
  if (pairs.length === 0) return;
  const seconds = Math.max(0.1, (pairs[0][0].at_us - pairs[0][1].at_us) / 1e6);
  const rate = (field) => pairs.reduce((sum, [one, old]) => sum + Math.max(0, one[field] - old[field]), 0) / seconds;
  const requests = merge(pairs.map(([one, old]) => difference(one.requests, old.requests)));
  const per = requests.count / seconds;
  keep('requests', per); keep('orders', rate('orders')); keep('trades', rate('trades'));
  keep('p50', quantile(requests, 0.5)); keep('p99', quantile(requests, 0.99)); keep('p999', quantile(requests, 0.999));
  lines($('chart-throughput'), $('legend-throughput'),
    [{name: 'requests', values: history.requests}, {name: 'orders', values: history.orders}, {name: 'trades', values: history.trades}], {unit: '/s', seconds});
  lines($('chart-latency'), $('legend-latency'),
    [{name: 'median', values: history.p50}, {name: '99 of 100', values: history.p99}, {name: '999 of 1000', values: history.p999}],
    {unit: 'µs', logarithmic: true, seconds});
  const p99 = history.p99.at(-1);
  $('tile-requests').textContent = `${short(per)}/s`;
  $('tile-p99').textContent = micros(p99);
  $('tile-p99').className = p99 === null || p99 <= 1000 ? '' : 'warn';
  $('tile-orders').textContent = `${short(rate('orders'))}/s`;
  $('tile-trades').textContent = `${short(rate('trades'))}/s`;
  $('tile-failed').textContent = `${short(rate('failed'))}/s`;
  $('tile-failed').className = rate('failed') > 0 ? 'bad' : '';
  $('tile-lag').textContent = `${short(Math.max(...pairs.map(([one]) => one.history_lag_entries)))} entries`;
  drawStages(pairs, seconds);
}

// The first four are those of a request, the others are behind them.
const STAGES = ['queue', 'journal', 'apply', 'egress', 'disk', 'projector', 'leadership'];

function drawStages(pairs, seconds) {
  const stages = STAGES.map((name) => {
    const found = pairs.filter(([one]) => one.stages[name]);
    return {name, did: merge(found.map(([one, old]) => difference(one.stages[name], old.stages[name])))};
  }).filter((stage) => stage.did.count > 0);
  const total = stages.reduce((sum, stage) => sum + stage.did.sum_us, 0);
  rows('stages', stages.map(({name, did}) => {
    const percent = total ? Math.round((did.sum_us * 100) / total) : 0;
    return [cell(name), cell([share(percent, 100), ` ${percent} %`]), cell(short(did.count / seconds), 'n'),
      cell(micros(quantile(did, 0.5)), 'n'), cell(micros(quantile(did, 0.99)), 'n')];
  }));
  const slowest = stages.filter(({name}) => STAGES.indexOf(name) < 4).map(({name, did}) => [name, quantile(did, 0.99)]).sort((a, b) => b[1] - a[1])[0];
  $('tile-slowest').textContent = slowest ? `${slowest[0]}, ${micros(slowest[1])}` : '–';
}

// --- book ---------------------------------------------------------------------------------------------------------

function showInstruments(told) {
  const select = $('symbol');
  const chosen = select.value;
  const names = told.instruments.map((one) => one.symbol);
  if ([...select.options].map((option) => option.value).join() !== names.join()) {
    select.replaceChildren(...names.map((name) => new Option(name, name)));
    if (names.includes(chosen)) select.value = chosen;
  }
  const state = told.instruments.find((one) => one.symbol === select.value)?.state ?? '–';
  $('symbol-state').textContent = state;
  $('symbol-state').className = `pill ${kind(state)}`;
}

async function showBook() {
  const symbol = $('symbol').value;
  if (!symbol) return;
  const book = await ask(`/admin/book?symbol=${encodeURIComponent(symbol)}&depth=40`);
  if (book.symbol !== $('symbol').value) return;
  depth($('chart-depth'), book);
  const count = Math.min(10, Math.max(book.bids.length, book.asks.length));
  rows('levels', Array.from({length: count}, (_, at) => {
    const [bid, ask_] = [book.bids[at], book.asks[at]];
    return [cell(bid ? String(bid.orders) : '', 'n'), cell(bid?.quantity ?? '', 'n'), cell([span(bid?.price ?? '', 'bid-text')], 'n'),
      cell([span(ask_?.price ?? '', 'ask-text')], 'n'), cell(ask_?.quantity ?? '', 'n'), cell(ask_ ? String(ask_.orders) : '', 'n')];
  }));
}

// --- audit ----------------------------------------------------------------------------------------------------------

async function showAudit() {
  try {
    const told = await ask('/admin/audit?limit=20');
    $('audit-problem').textContent = '';
    rows('records', told.records.map((one) => [
      cell(one.at), cell(one.action), cell(one.target, 'wrap'), cell(one.actor && one.actor !== one.subject ? `${one.actor} (${one.subject})` : one.subject),
      cell(one.reason || '–', 'wrap'), cell([span(one.result, kind(one.result)), one.detail ? ` ${one.detail}` : ''], 'wrap')]));
  } catch (error) {
    $('audit-problem').textContent = `It cannot be shown: ${error.message}`;
  }
}

// --- actions -----------------------------------------------------------------------------------------------------------

const instrument = () => $('symbol').value;
const ACTS = {
  'halt': () => ({title: `Halt ${instrument()}`, text: 'Nothing but cancels is taken; orders stay in the book.', path: '/admin/trading/halt', body: {symbols: [instrument()]}}),
  'resume': () => ({title: `Resume ${instrument()}`, text: 'If it is halted, it trades again.', path: '/admin/trading/resume', body: {symbols: [instrument()]}}),
  'halt-all': () => ({title: 'Halt everything', text: 'Every instrument that trades is halted; orders stay in the books.', path: '/admin/trading/halt', body: {all: true}}),
  'resume-all': () => ({title: 'Resume everything', text: 'Every instrument that is halted trades again.', path: '/admin/trading/resume', body: {all: true}}),
  'kill': () => ({title: 'Kill switch', text: 'Every open order of every instrument is cancelled for good, and trading halts.', path: '/admin/trading/kill-switch', body: {all: true}, name: 'all'}),
  'pause-elections': () => ({title: 'Pause elections', text: 'Leaders stay; a leader that dies is not replaced until elections resume.', path: '/admin/consensus/pause', body: {}}),
  'resume-elections': () => ({title: 'Resume elections', text: 'Shards without a leader get one.', path: '/admin/consensus/resume', body: {}}),
  'restart-consensus': () => ({title: 'Restart consensus', text: 'Sessions, watches and streams of a coordinator are made anew; leaders stay.', path: '/admin/consensus/restart', body: {}}),
  'optimize-connections': () => ({title: 'Optimize connections', text: 'Pools are fitted to their use and the limits of the server.', path: '/admin/database/optimize-connections', body: {}}),
  'reset-pools': () => ({title: 'Reset pools', text: 'Every connection to the database is replaced; requests wait for a moment at most.', path: '/admin/database/reset-pools', body: {}}),
  'reload-config': () => ({title: 'Reload configuration', text: 'File and environment are read again; a file that cannot be used changes nothing.', path: '/admin/config/reload', body: {}}),
  'force-election': (button) => {
    const shard = Number(button.dataset.shard);
    const leader = shards.find((one) => one.shard === shard)?.leader_id ?? 'nobody';
    return {title: `Move shard ${shard}`, text: `${leader} leads it. Another engine takes over; what was accepted is finished first.`, path: '/admin/consensus/force-election', body: {shard}};
  },
};

let act = null;

function confirmAct(wanted) {
  act = wanted;
  $('confirm-title').textContent = wanted.title;
  $('confirm-text').textContent = wanted.text;
  $('confirm-reason').value = '';
  $('confirm-name').value = '';
  $('confirm-wanted').textContent = wanted.name ?? '';
  $('confirm-name-row').hidden = !wanted.name;
  ready();
  $('confirm').showModal();
  $('confirm-reason').focus();
}

function ready() {
  $('confirm-go').disabled = $('confirm-reason').value.trim() === '' || (act?.name !== undefined && $('confirm-name').value !== act.name);
}

async function carryOut(dryRun) {
  const {title, path, body} = act;
  const reason = $('confirm-reason').value.trim();
  $('confirm').close();
  $('outcome').className = 'outcome quiet';
  $('outcome').textContent = `${title}: under way…`;
  try {
    const order = {reason, request_id: `console-${crypto.getRandomValues(new Uint32Array(3)).join('-')}`, dry_run: dryRun};
    const told = await post(path, {...body, ...order});
    $('outcome').className = 'outcome ok';
    $('outcome').textContent = `${title}: ${dryRun ? 'would be done' : 'done'}.\n${summary(told)}`;
  } catch (error) {
    const key = error.status === 401 || error.status === 403 ? ' Use a key of an operator.' : '';
    $('outcome').className = 'outcome bad';
    $('outcome').textContent = `${title}: ${error.message}.${key}\n${summary(error.body)}`;
  }
  tick(true);
}

function summary(told) {
  if (!told?.changes) return '';
  return told.changes.slice(0, 20).map((one) => {
    const states = one.before === one.after ? one.after : `${one.before} → ${one.after}`;
    const orders = one.resting_orders !== undefined ? `, ${one.resting_orders} resting orders` : '';
    return one.symbol ? `${one.symbol}: ${states}${orders}${one.note ? `; ${one.note}` : ''}` : '';
  }).filter(Boolean).join('\n');
}

// --- the clock -----------------------------------------------------------------------------------------------------------

let beat = 0;
let running = false;

async function tick(all = false) {
  if (running || (document.hidden && !all)) return;
  running = true;
  const every = (beats) => all || beat % beats === 0;
  const jobs = [ask('/admin/activity').then(showActivity), showBook()];
  if (every(2)) {
    jobs.push(ask('/health').then(showHealth), ask('/health/consensus').then(showConsensus),
      ask('/admin/database/pool-status').then(showPools), ask('/admin/instruments').then(showInstruments));
  }
  if (every(5)) jobs.push(ask('/admin/memory-profile').then(showMemory), showAudit());
  const failed = (await Promise.allSettled(jobs)).filter((job) => job.status === 'rejected').map((job) => job.reason);
  const problem = failed.find((error) => error.status === 401 || error.status === 403) ?? failed[0];
  const text = problem ? (problem.status ? problem.message : `The node does not answer: ${problem.message}`) : '';
  if ($('problem').textContent !== text) $('problem').textContent = text;
  $('problem').hidden = !problem;
  if (problem && !problem.status) { $('status').textContent = 'no answer'; $('status').className = 'pill bad'; }
  beat += 1;
  running = false;
}

document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-act]');
  if (button) confirmAct(ACTS[button.dataset.act](button));
});
$('confirm').addEventListener('input', ready);
$('confirm-cancel').addEventListener('click', () => $('confirm').close());
$('confirm-dry').addEventListener('click', () => carryOut(true));
$('confirm').querySelector('form').addEventListener('submit', (event) => { event.preventDefault(); if (!$('confirm-go').disabled) carryOut(false); });
$('key-open').addEventListener('click', () => { $('key-value').value = ''; $('key').showModal(); });
$('key-cancel').addEventListener('click', () => $('key').close());
$('key').querySelector('form').addEventListener('submit', (event) => {
  event.preventDefault();
  const key = $('key-value').value.trim();
  if (key) sessionStorage.setItem('key', key); else sessionStorage.removeItem('key');
  $('key').close();
  tick(true);
});
$('symbol').addEventListener('change', () => tick(true));
document.addEventListener('visibilitychange', () => { if (!document.hidden) tick(true); });
tick(true).then(() => tick(true));
setInterval(tick, 1000);
