// The scenes that browser_test.go plays. Each line on standard output is a JSON object:
// {scene, error?} once a scene has ended, {do, with} for what the daemon's keeper is to do,
// answered by a line on standard input, or {note}.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import readline from 'node:readline'

const { chromium } = createRequire(new URL('../../../../testdata/npm/package.json', import.meta.url))('playwright-core')
const { WFD: base, WFD_LOCKED: lockedBase, CHROMIUM, SHOTS, PROFILE } = process.env
const say = o => process.stdout.write(JSON.stringify(o) + '\n')
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const keeper = async (what, text) => { say({ do: what, with: text }); await answers.next() }

const context = await chromium.launchPersistentContext(PROFILE, {
  executablePath: CHROMIUM, headless: true, viewport: { width: 1360, height: 860 }, reducedMotion: 'reduce',
  args: ['--no-sandbox', '--headless', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})
context.setDefaultTimeout(45_000)

// What the page must never do, in any scene.
const wrong = []
const elsewhere = []
context.on('request', r => { const u = new URL(r.url()); if (![base, lockedBase].some(b => new URL(b).host === u.host) && u.protocol !== 'data:') elsewhere.push(r.url()) })
let expectTrouble = false
const watch = page => {
  page.on('pageerror', e => wrong.push(`${page.url()}: ${e.message}`))
  page.on('console', m => { if (m.type() === 'error' && !expectTrouble) wrong.push(`${page.url()}: ${m.text()}`) })
  return page
}
const page = watch(context.pages()[0] ?? await context.newPage())

const api = async (method, path, body, type = 'application/json', headers = {}) => {
  const r = await fetch(base + path, { method, body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body), headers: body === undefined ? headers : { 'Content-Type': type, ...headers } })
  assert.ok(r.ok, `${method} ${path}: ${r.status} ${r.ok ? '' : await r.text()}`)
  return r.json()
}
const startRun = async (workflow, input) => (await api('POST', `/v1/workflows/${workflow}/runs`, { input })).id
const settled = async id => { // also where a deadline runs: the order's
  for (const end = Date.now() + 40_000; Date.now() < end; await new Promise(r => setTimeout(r, 50))) {
    const r = await api('GET', `/v1/runs/${id}`)
    if (r.status !== 'running' && r.status !== 'pending' && !r.waits?.some(w => w.for === 'retry')) return r
  }
  assert.fail(`run ${id} does not settle`)
}
const apply = yaml => api('POST', '/v1/workflows', yaml, 'application/yaml')
const open = async path => { await page.goto(base + path) }
const pill = () => page.locator('.run-head .pill').innerText()
const shot = name => page.screenshot({ path: `${SHOTS}/${name}.png` })

const chosen = new RegExp(process.env.SCENES ?? '')

async function scene(name, play) {
  if (!chosen.test(name)) return
  const from = Date.now()
  try {
    await play()
    assert.deepEqual(wrong.splice(0), [], 'the page complains')
    assert.deepEqual(elsewhere.splice(0), [], 'requests went to other hosts')
    say({ scene: name })
  } catch (e) {
    e.stack += wrong.join('\n')
    await shot(`failed ${name}`).catch(() => {})
    say({ scene: name, error: `${e.stack}\nat ${page.url()}` })
    wrong.length = elsewhere.length = 0
  }
  say({ note: `${name}: ${Date.now() - from} ms` })
}

// seen is what the page shows of a run where the slider stands, at each of some places.
const seen = places => page.evaluate(async places => {
  const slider = document.querySelector('.strip input')
  const run = location.pathname.split('/').at(-1)
  const all = []
  for (const at of places) {
    slider.value = String(at)
    slider.dispatchEvent(new Event('input', { bubbles: true }))
    await new Promise(r => setTimeout(r, 1))
    all.push({
      at: Number(slider.value),
      status: document.querySelector('.run-head .pill').textContent,
      nodes: Object.fromEntries([...document.querySelectorAll('.graph [data-node]')].map(n => [n.dataset.node, [n.getAttribute('aria-label').split(', ')[2], n.querySelector('.badge-text')?.textContent ?? '']])),
      state: Object.fromEntries([...document.querySelectorAll(`.state [data-run="${run}"] [data-key]`)].filter(k => k.querySelector('pre')).map(k => [k.dataset.key, k.querySelector('pre').textContent])),
    })
  }
  return all
}, places)

// agrees compares what is shown with what the API says of that place.
function agrees(got, frame, want) {
  const at = `event ${got.at}, seq ${frame.event.seq}, ${frame.event.kind}`
  assert.equal(got.status, want.status, `the status at ${at}`)
  assert.deepEqual(Object.keys(got.state).sort(), Object.keys(want.state).sort(), `the keys at ${at}`)
  for (const [k, text] of Object.entries(got.state)) {
    assert.deepEqual(typeof want.state[k] === 'string' ? text : JSON.parse(text), want.state[k], `state.${k} at ${at}`)
  }
  for (const [id, [status, visits]] of Object.entries(got.nodes)) {
    const n = want.nodes[id]
    assert.equal(status, n?.status ?? 'not reached', `node ${id} at ${at}`)
    assert.equal(visits, (n?.visits ?? 0) > 1 ? `×${n.visits}` : '', `visits of ${id} at ${at}`)
  }
}

async function slides(id) {
  const { items } = await api('GET', `/v1/runs/${id}/replay?limit=10000`)
  await open(`/runs/${id}`)
  await page.locator('.graph [data-node]').first().waitFor()
  const states = await Promise.all(items.map(f => f.event.run === id ? api('GET', `/v1/runs/${id}/state?at=${f.event.seq}`) : null))
  const there = Array.from(items, (_, i) => i + 1)
  const places = [...there.toReversed(), ...there, 2, Math.ceil(items.length / 2), 1, items.length] // back, on, and about
  for (const got of await seen(places)) {
    if (states[got.at - 1]) agrees(got, items[got.at - 1], states[got.at - 1])
  }
  return items.length
}

let tour = (await api('GET', '/v1/runs?workflow=tour')).items.at(-1).id

await scene('the first five minutes', async () => {
  await open('/')
  const row = page.locator('tr', { hasText: 'tour' })
  await row.getByText('completed').waitFor()
  say({ note: `a finished run is on the page ${Date.now() - Number(process.env.WFD_BEGAN)} ms after the command, ${Math.round(await page.evaluate(() => performance.now()))} ms after the page` })
  await row.getByRole('link').first().click()
  tour = page.url().split('/').at(-1)
  await page.locator('.graph [data-node=publish]').waitFor()
  assert.equal(await pill(), 'completed')
  await shot('five minutes')
  // Back in time by key: the address says where, and nothing can be done but a fork.
  await page.keyboard.press('End')
  for (let i = 0; i < 3; i++) await page.keyboard.press('Shift+ArrowLeft')
  await page.waitForURL(/at=\d+/)
  for (const b of await page.locator('.actions button').all()) {
    const name = await b.innerText()
    assert.equal(await b.isDisabled(), !name.startsWith('Fork'), `${name} in the past`)
  }
  const at = page.url()
  await page.reload()
  await page.locator('.scrub-pos').waitFor()
  assert.equal(page.url(), at)
  // A fork with another score.
  await page.getByRole('button', { name: 'Fork from here' }).click()
  await page.getByRole('textbox', { name: 'score' }).fill('0.95')
  await shot('fork')
  await page.getByRole('dialog').getByRole('button', { name: 'Fork' }).click()
  await page.waitForURL(u => u.pathname.startsWith('/runs/') && !u.pathname.endsWith(tour))
  await page.locator('.run-head .pill', { hasText: 'completed' }).waitFor()
  // The question of the other example.
  await page.getByRole('link', { name: /^Inbox/ }).click()
  const card = page.locator('.card', { hasText: 'Publish the note' })
  await card.getByText('Yes').click()
  await shot('inbox')
  await card.getByRole('button', { name: 'Answer' }).click()
  await card.waitFor({ state: 'detached' })
  await page.getByRole('link', { name: 'Runs', exact: true }).click()
  await page.locator('tr', { hasText: 'release-note' }).getByText('completed').waitFor()
})

await scene('the slider shows what the API says, at every event', async () => {
  const order = await startRun('order', { items: ['a', 'b', 'c'] })
  await settled(order)
  await apply('name: inner\nstate: {n: {type: number, default: 1}}\nnodes: {a: {agent: x, prompt: A., set: {n: "${2}"}}}')
  await apply('name: outer\nstate: {out: {type: string}}\nnodes: {sub: {workflow: {workflow: inner}, set: {out: "${\'done\'}"}}, end: {end: completed, needs: [sub]}}')
  const outer = await startRun('outer')
  await settled(outer)
  let n = 0
  for (const id of [tour, order, outer]) n += await slides(id)
  say({ note: `${n} events compared, each twice` })
})

await scene('a step of a long run is short', async () => {
  await apply('name: long\nstate: {n: {type: number, default: 0}}\nentry: a\nnodes: {a: {agent: x, prompt: A., set: {n: "${state.n + 1}"}, max_visits: 250}, b: {end: completed}}\nedges: [{from: a, to: a, if: "nodes.a.visits < 200"}, {from: a, to: b, default: true}]')
  const id = await startRun('long')
  await settled(id)
  await open(`/runs/${id}`)
  await page.locator('.graph [data-node]').first().waitFor()
  // What counts is what the page's thread has to do, and not what else this machine does.
  const cdp = await context.newCDPSession(page)
  await cdp.send('Performance.enable', { timeDomain: 'threadTicks' })
  const spent = async () => (await cdp.send('Performance.getMetrics')).metrics.find(m => m.name === 'TaskDuration').value * 1000
  const before = await spent()
  const n = await page.evaluate(async () => {
    const el = document.querySelector('.strip input')
    const n = Number(el.max)
    for (let i = 0; i < 100; i++) {
      el.value = String(1 + (i * 7919) % n)
      el.dispatchEvent(new Event('input', { bubbles: true }))
      await new Promise(r => setTimeout(r))
    }
    return n
  })
  const step = (await spent() - before) / 100
  assert.ok(n > 1000, `${n} events`)
  say({ note: `a step anywhere in ${n} events takes ${step.toFixed(1)} ms of the page's thread, drawing and all` })
  await shot('long')
})

await scene('a graph of 300 nodes is usable', async () => {
  const nodes = ['start: {parallel: {}}'], stages = []
  for (let i = 0; i < 100; i++) nodes.push(`f${i}: {agent: x, prompt: A., needs: [start]}`)
  nodes.push(`join: {converge: {}, needs: [${Array.from({ length: 100 }, (_, i) => 'f' + i)}]}`)
  for (let i = 0; i < 198; i++) nodes.push(`s${i}: {agent: x, prompt: A., needs: [${i < 3 ? 'join' : `s${i - 3}`}]}`), stages.push(i)
  await apply(`name: wide\nnodes:\n${nodes.map(n => '  ' + n).join('\n')}\n`)
  await open('/workflows/wide')
  await page.locator('.graph [data-node=f0]').waitFor()
  const shown = await page.locator('.graph [data-node]').count()
  assert.ok(shown <= 201, `${shown} nodes are drawn: the fan-out is folded`)
  await page.locator('.graph [data-node=f0]').focus()
  await page.keyboard.press('Enter')
  await page.locator('.graph [data-node=f99]').waitFor()
  assert.equal(await page.locator('.graph [data-node]').count(), 300)
  await page.getByLabel('Find a node').fill('s197')
  await page.locator('.graph .node.chosen[data-node=s197]').waitFor()
  const seen = await page.locator('.graph [data-node=s197]').boundingBox(), frame = await page.locator('.graph').boundingBox()
  assert.ok(seen.width > 80 && seen.x >= frame.x && seen.x + seen.width <= frame.x + frame.width, `the node is seen, and can be read: ${JSON.stringify([seen, frame])}`)
  await page.getByRole('region', { name: 'Node' }).getByText('s194').waitFor()
  await shot('wide')
})

await scene('a long inbox has pages, and runs are found by label and by ID', async () => {
  await apply('name: asks\nnodes: {ask: {human: {prompt: "Hm?", form: {type: boolean}, assignee: ann}}}')
  const ids = await Promise.all(Array.from({ length: 60 }, (_, i) => api('POST', '/v1/workflows/asks/runs', { labels: { batch: i < 7 ? 'few' : 'many' } }).then(r => r.id)))
  await Promise.all(ids.map(settled))
  await open('/inbox?workflow=asks')
  const cards = page.locator('.card')
  await cards.nth(49).waitFor()
  assert.equal(await cards.count(), 50)
  await page.getByRole('button', { name: 'Older questions' }).click()
  await cards.nth(59).waitFor()
  assert.equal(await page.getByRole('button', { name: 'Older questions' }).count(), 0)
  await cards.nth(59).getByText('Yes').click()
  await cards.nth(59).getByRole('button', { name: 'Answer' }).click()
  await cards.nth(59).waitFor({ state: 'detached' })
  assert.equal(await cards.count(), 59, 'a question on the second page goes when it is answered')
  await open('/runs')
  const search = page.getByRole('searchbox', { name: /^Search these runs/ })
  await search.fill('batch=few')
  await search.press('Enter')
  await page.waitForURL(/label=batch%3Dfew/)
  await page.locator('tbody tr').nth(7).waitFor({ state: 'detached' })
  assert.equal(await page.locator('tbody tr').count(), 7)
  await search.fill(ids[9])
  await search.press('Enter')
  await page.waitForURL(`**/runs/${ids[9]}`)
  // On a narrow page the screens are behind a button.
  await page.setViewportSize({ width: 375, height: 780 })
  await page.locator('#screens').waitFor({ state: 'hidden' })
  await page.getByRole('button', { name: /^Runs/ }).click()
  await page.getByRole('link', { name: 'Audit' }).click()
  await page.waitForURL('**/audit')
  await page.locator('#screens').waitFor({ state: 'hidden' })
  await page.setViewportSize({ width: 1360, height: 860 })
  await Promise.all(ids.map(id => api('POST', `/v1/runs/${id}/cancel`, {}).catch(() => {}))) // one was answered
})

await scene('a run is followed live', async () => {
  await open('/runs')
  await page.locator('table').waitFor()
  const id = await startRun('release-note', { product: 'live' })
  await page.locator(`a[href="/runs/${id}"]`).click()
  await page.locator('.graph [data-node=draft]').waitFor()
  await page.locator('.question', { hasText: 'Publish the note on live' }).waitFor()
  assert.equal(await pill(), 'waiting')
  assert.match(await page.locator('.why').innerText(), /approve waits for the answer/)
  await page.locator('.question').getByRole('button', { name: 'Answer' }).click()
  await page.locator('.question').getByText('No', { exact: true }).click()
  await page.locator('.question form').getByRole('button', { name: 'Answer' }).click()
  await page.locator('.run-head .pill', { hasText: 'failed' }).waitFor()
  assert.match(await page.locator('.why').innerText(), /turned down/)
  await page.locator('.graph [data-node=draft]').click()
  await page.locator('.drawer .try').getByText('rate_limit', { exact: true }).waitFor()
  await shot('node')
})

await scene('a run is started in its form', async () => {
  await open('/workflows')
  await page.getByRole('link', { name: 'release-note' }).click()
  await page.getByRole('button', { name: 'Start a run' }).click()
  assert.ok(await page.getByRole('button', { name: /^Start v/ }).isDisabled())
  await page.getByLabel('product').fill('the form')
  await page.getByRole('button', { name: /^Start v/ }).click()
  await page.waitForURL(/\/runs\//)
  await page.getByRole('tab', { name: 'Input, output' }).click()
  await page.getByText('the form').first().waitFor()
})

await scene('the daemon is killed under an open page', async () => {
  await open(`/runs/${await startRun('order', { items: ['x'] })}`)
  await page.locator('.run-head .pill', { hasText: 'waiting' }).waitFor()
  const id = page.url().split('/').at(-1)
  await page.evaluate(() => { window.same = true })
  expectTrouble = true
  await keeper('key', 'k')
  for (const end = Date.now() + 30_000; ;) { // the one that the kill cut off may have been done: the key tells
    try { await api('POST', `/v1/runs/${id}/signal`, { name: 'paid', value: 1 }, 'application/json', { 'Idempotency-Key': 'paid-1' }); break } catch (e) { if (Date.now() > end) throw e }
    await new Promise(r => setTimeout(r, 50))
  }
  await page.locator('.run-head .pill', { hasText: 'completed' }).waitFor()
  assert.ok(await page.evaluate(() => window.same), 'the page was not loaded again')
  await page.locator('.reach:not(.off)').waitFor({ state: 'attached' })
  expectTrouble = false
  wrong.length = 0
})

await scene('a paused run is changed, and goes back to a checkpoint', async () => {
  await apply('name: stops\nstate: {n: {type: number}}\nnodes: {a: {agent: x, prompt: Hm., set: {n: "${1}"}}, b: {human: {prompt: "n is ${state.n}", form: {type: boolean}}, needs: [a]}, c: {agent: x, prompt: "n is ${state.n}", needs: [b]}}')
  const { id } = await api('POST', '/v1/workflows/stops/runs', { input: {}, breakpoints: ['node=b'] })
  await settled(id)
  await open(`/runs/${id}`)
  await page.locator('.run-head .pill', { hasText: 'paused' }).waitFor()
  await page.locator('.run-head .tag', { hasText: 'node=b' }).waitFor()
  await page.getByRole('button', { name: 'Resume with…' }).click()
  await page.getByLabel('n', { exact: true }).fill('5')
  await page.getByLabel(/^Breakpoints/).fill('')
  await page.getByLabel(/^Reason/).fill('five is better')
  await shot('resume')
  await page.getByRole('button', { name: 'Go on' }).click()
  await page.locator('.question', { hasText: 'n is 5' }).waitFor()
  assert.equal(await page.locator('.run-head .tag', { hasText: 'node=b' }).count(), 0)
  await page.getByRole('button', { name: 'Checkpoints' }).click()
  await page.getByLabel('Name the place where the run stands').fill('before the answer')
  await page.getByRole('button', { name: 'Keep it' }).click()
  await page.locator('dialog tr', { hasText: 'before the answer' }).waitFor()
  await shot('checkpoints')
  await page.keyboard.press('Escape')
  await api('POST', `/v1/runs/${id}/answer`, { node: 'b', value: true })
  await page.locator('.run-head .pill', { hasText: 'completed' }).waitFor()
  await page.getByRole('button', { name: 'Checkpoints' }).click()
  const row = page.locator('dialog tr', { hasText: 'before the answer' })
  await row.getByRole('button', { name: 'Restore' }).click()
  await row.getByRole('button', { name: 'Yes, go back' }).click()
  await page.locator('.question', { hasText: 'n is 5' }).waitFor()
  await page.locator('.run-head .pill', { hasText: 'waiting' }).waitFor()
  await api('POST', `/v1/runs/${id}/answer`, { node: 'b', value: true })
  await page.locator('.run-head .pill', { hasText: 'completed' }).waitFor()
  await page.locator('.graph [data-node=c]').click()
  await page.locator('.drawer .try').first().getByText('What it was given').click()
  await page.locator('.drawer .asked-of', { hasText: 'n is 5' }).waitFor()
})

await scene('a run that is out of budget gets more', async () => {
  await apply('name: poor\nbudget: {tokens: 10}\nnodes: {a: {agent: x, prompt: Hm.}}')
  const id = await startRun('poor', {})
  await open(`/runs/${id}`)
  await page.locator('.run-head .pill', { hasText: 'paused' }).waitFor()
  assert.match(await page.locator('.why').innerText(), /budget/)
  await page.getByRole('button', { name: 'Budget' }).click()
  await page.getByLabel('Tokens').fill('100000')
  await page.getByRole('button', { name: 'Set', exact: true }).click()
  await page.locator('.run-head .pill', { hasText: 'completed' }).waitFor()
  await page.locator('.run-head .tag', { hasText: 'of 100,000 tokens' }).waitFor()

  await open('/cost')
  await page.getByRole('button', { name: 'Set a budget' }).click()
  await page.getByLabel('Of what').fill('nonsense')
  await page.getByLabel('US dollars').fill('2.50')
  await page.getByRole('button', { name: 'Set', exact: true }).click()
  await page.locator('dialog .trouble').waitFor()
  await page.getByLabel('Of what').fill('workflow:poor')
  await page.getByRole('button', { name: 'Set', exact: true }).click()
  await page.locator('tr', { hasText: 'workflow:poor' }).getByText('$2.50').waitFor()
  await page.getByRole('button', { name: 'Day', exact: true }).click()
  await page.waitForURL(/by=day/)
  await page.locator('td', { hasText: new Date().toISOString().slice(0, 10) }).first().waitFor()
  await shot('budgets')
  wrong.length = 0 // the refusal above is in the console
})

await scene('a schedule is seen at work, and paused', async () => {
  await apply('name: scheduled\nnodes: {a: {end: completed}}')
  await api('POST', '/v1/schedules', { name: 'every-second', cron: '* * * * * *', workflow: 'scheduled' })
  await api('POST', '/v1/hooks/in', { name: 'deploys', secret: '${secrets.NONE}', workflow: 'scheduled' })
  await api('POST', '/v1/hooks/out', { name: 'pager', url: 'https://127.0.0.1:1/x', secret: 'NONE', kinds: ['run.'], workflows: ['scheduled'] })
  await open('/triggers')
  const row = page.locator('tr[data-trigger=every-second]')
  await row.getByText('started').first().waitFor()
  await page.locator('tr[data-trigger=deploys]', { hasText: '/hooks/deploys' }).waitFor()
  await page.locator('tr[data-trigger=pager]', { hasText: 'failing' }).waitFor()
  await row.getByRole('button', { name: 'Pause every-second' }).click()
  await row.locator('.pill', { hasText: 'paused' }).waitFor()
  await page.getByRole('button', { name: 'Pause pager' }).click()
  await page.locator('tr[data-trigger=pager] .pill', { hasText: 'paused' }).waitFor()
  await shot('triggers')
  await row.locator('a.mono').first().click()
  await page.locator('.run-head .pill', { hasText: 'completed' }).waitFor()
})

await scene('an answer is read as it comes, and a chat turn by turn', async () => {
  await apply('name: slow\nnodes: {say: {agent: slow, prompt: Speak.}, talk: {chat: {participants: [x, y], mode: consensus, rounds: 1, threshold: 1, prompt: Well?}, needs: [say]}}')
  const id = await startRun('slow', {})
  await open(`/runs/${id}`)
  await page.locator('.graph [data-node=say]').click()
  await page.locator('.drawer .stream', { hasText: 'word 1 ' }).waitFor()
  await shot('streaming')
  await fetch(process.env.MODEL + '/release', { method: 'POST' })
  await page.locator('.drawer .try', { hasText: 'and an end.' }).waitFor()
  await page.locator('.drawer .try', { hasText: '10 → 50 tokens' }).waitFor()
  await page.locator('.run-head .pill', { hasText: /completed|failed/ }).waitFor()
  await page.locator('.graph [data-node=talk]').click()
  await page.locator('.drawer .turn', { hasText: 'y' }).first().waitFor()
  assert.equal(await page.locator('.drawer .turn').count(), 2)
  assert.equal(await page.locator('.drawer .try', { hasText: ' tokens' }).count(), 2, 'what each turn used')
  await shot('chat')
})

await scene('an address that is no UTF-8 leads nowhere', async () => {
  expectTrouble = true
  await open('/workflows/%FF')
  await page.locator('.trouble, .empty').first().waitFor()
  expectTrouble = false
})

await scene('a mistake in a watched file is shown with its place', async () => {
  await open('/runs')
  await keeper('save', 'mistake.yaml\nname: mistake\nnodes:\n  a: {agent: x, prompt: "Hm."}\nedges:\n  - {from: a, to: nowhere}\n')
  const bar = page.locator('.dev-bar')
  await bar.waitFor()
  assert.match(await bar.innerText(), /mistake\.yaml:5:\d+/)
  const caret = await bar.locator('.caret').innerText()
  assert.equal(caret.split('\n')[1].indexOf('^'), caret.split('\n')[0].indexOf('nowhere'), caret)
  await shot('mistake')
  await keeper('save', 'mistake.yaml\nname: mistake\nnodes:\n  a: {agent: x, prompt: "Hm."}\n')
  await bar.waitFor({ state: 'detached' })
})

await scene('what agents write is text', async () => {
  const hostile = '<img src=x onerror="window.pwned=1"><script>window.pwned=2</script>\x1b[31mred\x1b[0m \u202eevil\u2066 [x](javascript:window.pwned=3) {{7*7}} </textarea><svg onload=window.pwned=4>'
  await apply('name: hostile\ninput: {type: object, properties: {t: {type: string}}}\nstate: {note: {type: string}}\nnodes: {ask: {human: {prompt: "${input.t}", form: {type: object, title: "<b>t</b>", properties: {"<i>k</i>": {type: string, description: "<script>1</script>"}}}}, set: {note: "${input.t}"}}, again: {human: {prompt: "${state.note}"}, needs: [ask]}}')
  const id = await startRun('hostile', { t: hostile })
  await settled(id)
  await api('POST', `/v1/runs/${id}/answer`, { node: 'ask', value: { '<i>k</i>': hostile } })
  await settled(id)
  for (const path of [`/runs/${id}`, '/inbox', '/runs', `/workflows/hostile`, `/diff?a=${id}&b=${tour}`, '/audit']) {
    await open(path)
    await page.waitForTimeout(300)
    if (path.startsWith('/runs/')) {
      await page.locator('.state [data-key=note]').waitFor()
      const text = await page.locator('.state [data-key=note] pre').innerText()
      assert.ok(text.includes('<img src=x onerror=') && text.includes('⟨U+202E⟩') && text.includes('red') && !text.includes('\x1b') && !text.includes('[31m'), text)
      await page.locator('.graph [data-node=ask]').click()
      await page.locator('.drawer .try').first().waitFor()
      await shot('hostile')
      for (let n = 0; n < 8; n++) { // the line of each event, from the last one on
        await page.keyboard.press('ArrowLeft')
        assert.doesNotMatch(await page.locator('.scrubber').innerHTML(), /[\u202a-\u202e\u2066-\u2069]/)
      }
    }
    const r = await page.evaluate(() => ({ pwned: window.pwned, strange: [...document.querySelectorAll('#app img:not([src="/ui/icon.svg"]), #app script, #app iframe, #app b b, #app [onerror], #app [onload], a[href^="javascript:"]')].map(e => e.outerHTML), turned: /[\u202a-\u202e\u2066-\u2069]/.test(document.body.innerText) }))
    assert.deepEqual(r, { pwned: undefined, strange: [], turned: false }, path)
  }
  await api('POST', `/v1/runs/${id}/cancel`, {})
})

await scene('a proof is checked in the browser', async () => {
  await open('/audit?seq=5')
  await page.locator('.verdict.ok').waitFor()
  const signature = await page.locator('.checks li', { hasText: 'Signature' }).innerText()
  assert.match(signature, /holds/)
  await page.route('**/v1/audit/proof*', async route => {
    const r = await route.fetch()
    const doc = JSON.parse(await r.text())
    doc.event.actor = 'somebody else'
    await route.fulfill({ response: r, body: JSON.stringify(doc) })
  })
  await open('/audit?seq=6')
  await page.locator('.verdict.bad').waitFor()
  await page.unroute('**/v1/audit/proof*')
})

await scene('a daemon with a token asks for it', async () => {
  expectTrouble = true
  await page.goto(lockedBase + '/runs')
  await page.getByLabel('Token').fill('wrong')
  await page.getByRole('button', { name: 'Open' }).click()
  await page.getByText('That is not the token.').waitFor()
  await page.getByLabel('Token').fill('open sesame')
  await page.getByRole('button', { name: 'Open' }).click()
  await page.getByText('There are no runs yet.').waitFor()
  assert.equal(await page.evaluate(() => document.cookie), '', 'a script reads the cookie')
  const c = (await context.cookies(lockedBase)).find(c => c.name.startsWith('wfd-session'))
  assert.ok(c.httpOnly && c.sameSite === 'Strict' && !c.value.includes('sesame'))
  await page.getByRole('button', { name: 'Log out api:token' }).click()
  await page.getByLabel('Token').waitFor()
  assert.equal((await context.cookies(lockedBase)).length, 0, 'the cookie is gone')
  await open('/runs') // what was refused to the page that is left is said before this one is there
  await page.locator('main').waitFor()
  expectTrouble = false
  wrong.length = 0
})

const screens = { runs: '/runs', run: `/runs/${tour}`, past: '', inbox: '/inbox', workflows: '/workflows', workflow: '/workflows/tour?start=1', triggers: '/triggers', agents: '/agents', cost: '/cost', audit: '/audit?seq=4', diff: '' }

await scene('every screen, in both themes and on a narrow one', async () => {
  const frames = (await api('GET', `/v1/runs/${tour}/replay?limit=1000`)).items
  screens.past = `/runs/${tour}?at=${frames[Math.floor(frames.length / 2)].event.seq}`
  const others = (await api('GET', '/v1/runs?workflow=tour')).items
  screens.diff = `/diff?a=${others[0].id}&b=${tour}`
  for (const [name, path] of Object.entries(screens)) {
    for (const [kind, width, height, theme] of [['light', 1360, 860, 'light'], ['dark', 1360, 860, 'dark'], ['narrow', 375, 780, 'dark']]) {
      await page.setViewportSize({ width, height })
      await page.emulateMedia({ colorScheme: theme })
      await open(path)
      await page.locator('main').waitFor()
      await page.waitForTimeout(350)
      await shot(`${name} ${kind}`)
      const r = await page.evaluate(() => ({
        wide: document.documentElement.scrollWidth - innerWidth,
        nameless: [...document.querySelectorAll('button, a, input, select, textarea, [role=button]')].filter(e => e.checkVisibility?.() && !(e.getAttribute('aria-label') || e.innerText?.trim() || e.title || e.labels?.length || e.textContent.trim() || e.placeholder)).map(e => e.outerHTML.slice(0, 120)),
        headings: document.querySelectorAll('h1').length, main: document.querySelectorAll('main').length,
      }))
      assert.ok(r.wide <= 0, `${name} ${kind} is ${r.wide} pixels too wide`)
      assert.deepEqual(r.nameless, [], `${name} ${kind}`)
      assert.deepEqual([r.headings, r.main], [1, 1], `${name} ${kind}: one heading, one main part`)
    }
  }
  await page.setViewportSize({ width: 1360, height: 860 })
})

await context.close()
process.exit(0) // the keeper's line is open still
