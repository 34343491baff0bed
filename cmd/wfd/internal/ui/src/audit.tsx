// What the log proves: its head, and any one event, checked in this browser.
import { useEffect, useState } from 'preact/hooks'
import { get, query } from './api'
import { lineOf } from './film'
import { Copy, More, Text, Trouble, useLoad, usePages } from './parts'
import { check, type Check } from './proof'
import { params, set } from './router'
import { count, moment, plainText } from './text'
import type { Event, List } from './types'

interface Head { origin: string; size: number; root: string; checkpoint: string; key: string }

export function Audit() {
  const seq = Number(params.value.get('seq')) || 0
  const head = useLoad('head', s => get<Head>('/v1/audit/head', s))
  const [text, setText] = useState(seq ? String(seq) : '')
  const [key, setKey] = useState('')
  const trusted = key.trim() || head.data?.key || ''
  const proof = useLoad(`proof ${seq}`, async s => seq ? get<any>(`/v1/audit/proof${query({ seq })}`, s) : undefined)
  const event = useLoad(`event ${seq}`, async s => seq ? (await get<List<Event>>(`/v1/events${query({ cursor: seq - 1, limit: 1 })}`, s)).items[0] : undefined)
  const [checks, setChecks] = useState<Check[] | null>(null)
  const [error, setError] = useState<unknown>(null)
  useEffect(() => {
    setChecks(null)
    setError(null)
    if (!proof.data || !trusted) return
    let old = false
    check(proof.data, trusted).then(c => { if (!old) setChecks(c) }, e => { if (!old) setError(e) })
    return () => { old = true }
  }, [proof.data, trusted])
  const size = head.data?.size ?? 0
  // The log is asked for forwards: what is newest is in its last thousand events, or else before them.
  const log = usePages(`log ${size}`, async (cursor, s) => {
    const items: Event[] = []
    let upto = Number(cursor) || size
    for (let n = 0; n < 20 && upto > 0 && items.length < 50; n++) {
      const from = Math.max(0, upto - 1000)
      const page = await get<List<Event>>(`/v1/audit/log${query({ limit: 1000, cursor: from })}`, s)
      items.push(...page.items.filter(e => e.seq <= upto).reverse())
      upto = from
    }
    return { items, next_cursor: upto > 0 ? String(upto) : undefined }
  })
  const good = checks?.every(c => c.ok !== false) ?? false
  return <main class="page">
    <div class="bar"><h1>Audit</h1><span class="muted">every event is a leaf of one tree; nobody has to believe the daemon</span></div>
    <Trouble error={head.error} />
    {head.data && <section class="card"><header><strong>The log as it is signed</strong></header><dl class="facts">
      <dt>log</dt><dd class="mono">{head.data.origin}</dd><dt>events</dt><dd class="mono">{count(head.data.size)}</dd><dt>root</dt><dd class="mono">{head.data.root}</dd><dt>public key</dt><dd class="mono">{head.data.key} <Copy text={head.data.key} label="Copy the public key" /></dd></dl>
      <details><summary>Checkpoint, to be kept elsewhere</summary><pre class="mono caret">{head.data.checkpoint}</pre></details></section>}
    <section class="card"><header><strong>Prove an event</strong></header>
      <form class="bar" onSubmit={e => { e.preventDefault(); set({ seq: text.trim() }) }}>
        <label class="muted" for="prove-seq">seq</label><input id="prove-seq" class="mono" inputMode="numeric" pattern="[0-9]+" size={9} value={text} onInput={e => setText((e.target as HTMLInputElement).value)} /><button class="primary" disabled={!/^\d+$/.test(text.trim())}>Prove</button>
        <details class="grow"><summary>with a key of your own</summary><input class="mono wide" aria-label="Public key that you trust" placeholder={head.data?.key ?? 'name+hash+key'} value={key} onInput={e => setKey((e.target as HTMLInputElement).value)} /></details>
      </form>
      <Trouble error={proof.error ?? error} />
      {event.data && <p><span class="tag">{event.data.kind}</span> <Text of={lineOf(event.data)} /> <span class="muted">{moment(event.data.time)}, by {plainText(event.data.actor)}</span></p>}
      {checks && <><p class={`verdict ${good ? 'ok' : 'bad'}`} role="status">{good ? `Event ${seq} is in the log, as it is shown, at its place.` : `Event ${seq} is not proven.`}</p>
        <ul class="checks">{checks.map(c => <li><span class={`tag ${c.ok === null ? 'warn' : c.ok ? 'ok' : 'bad'}`}>{c.ok === null ? 'not checked' : c.ok ? 'holds' : 'fails'}</span> <strong>{c.what}</strong> <span class="mono muted">{plainText(c.detail)}</span></li>)}</ul>
        <p class="muted">Computed here, by this browser. With the key that the same daemon hands out this shows that it is consistent; with a key that you got by another way, that it is true.</p></>}
    </section>
    <h2>Who did what, lately</h2>
    <Trouble error={log.error} />
    <div class="table-wrap"><table class="table"><thead><tr><th class="num">Seq</th><th>Time</th><th>Actor</th><th>What</th><th class="grow" /></tr></thead>
      <tbody>{(log.items ?? []).map((e: any) => <tr><td class="num"><a class="mono" href={`/audit?seq=${e.seq}`} onClick={() => setText(String(e.seq))}>{e.seq}</a></td><td class="nowrap muted">{moment(e.time)}</td><td class="mono">{plainText(e.actor)}</td><td class="nowrap">{e.kind}</td><td class="grow ellipsis"><Text of={lineOf(e)} /></td></tr>)}</tbody></table></div>
    <More of={log}>What was done before</More>
  </main>
}
