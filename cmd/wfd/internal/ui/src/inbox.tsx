// What waits for somebody: questions and approvals, each answered in its form, and
// signals.
import { useState } from 'preact/hooks'
import { get, post, query } from './api'
import { emptyOf, lacking, SchemaForm } from './form'
import { Ago, Dialog, Empty, More, RunLink, tell, Text, Trouble, useLoad, usePages } from './parts'
import { pulse } from './pulse'
import { params, set } from './router'
import { plainText } from './text'
import type { Event, List, Question, Row, Schema } from './types'

export function Answer({ q, done }: { q: Question; done?: () => void }) {
  // A form that is too large for the list is in the question's event.
  const whole = useLoad(`${q.run} ${q.seq} ${q.form !== undefined}`, async s => q.form !== undefined ? q.form
    : (await get<List<Event>>(`/v1/runs/${q.run}/events?cursor=${q.seq - 1}&limit=1&kind=input.requested`, s)).items[0]?.data?.form as Schema | undefined)
  const [value, setValue] = useState<unknown>(() => emptyOf(q.form))
  const [error, setError] = useState<unknown>(null)
  const [busy, setBusy] = useState(false)
  const missing = lacking(whole.data, value)
  const send = async (e: Event_) => {
    e.preventDefault()
    setBusy(true)
    try {
      await post(`/v1/runs/${q.run}/answer`, { node: q.node, visit: q.visit, value: value ?? null })
      tell(`${q.node} is answered`)
      pulse.value++
      done?.()
    } catch (err) { setError(err) }
    setBusy(false)
  }
  return <form class="answer" onSubmit={send as any} aria-label={`Answer ${q.node}`}>
    <SchemaForm schema={whole.data} value={value} change={setValue} id={`a-${q.run.slice(-6)}-${q.node}`} />
    <Trouble error={error} />
    <div class="dialog-foot">{missing.length > 0 && <span class="muted">{plainText(missing.join(', '))} {missing.length === 1 ? 'has' : 'have'} to be filled in</span>}<button class="primary" disabled={busy || missing.length > 0}>Answer</button></div>
  </form>
}
type Event_ = { preventDefault(): void }

export function SendSignal({ run, name, close }: { run: string; name: string; close: () => void }) {
  const [value, setValue] = useState<unknown>(undefined)
  const [as, setAs] = useState(name)
  const [error, setError] = useState<unknown>(null)
  return <Dialog title="Send a signal" close={close}><form class="dialog-body" onSubmit={async e => {
    e.preventDefault()
    try {
      await post(`/v1/runs/${run}/signal`, { name: as, value: value ?? null })
      tell(`signal ${as} is sent`)
      pulse.value++
      close()
    } catch (err) { setError(err) }
  }}>
    <div class="field"><label for="signal-name">Name</label><input id="signal-name" value={as} onInput={e => setAs((e.target as HTMLInputElement).value)} /></div>
    <SchemaForm schema={undefined} value={value} change={setValue} id="signal-value" />
    <Trouble error={error} />
    <div class="dialog-foot"><button type="button" onClick={close}>Not now</button><button class="primary" disabled={!as}>Send</button></div>
  </form></Dialog>
}

export function Inbox() {
  const p = pulse.value
  const assignee = params.value.get('for') ?? '', workflow = params.value.get('workflow') ?? ''
  const list = usePages(`inbox ${assignee} ${workflow}`, (cursor, s) => get<List<Question>>(`/v1/inbox${query({ limit: 50, assignee, workflow, cursor })}`, s), p)
  const waiting = usePages(`signals ${workflow}`, (cursor, s) => get<List<Row>>(`/v1/runs${query({ status: 'waiting', limit: 200, workflow, cursor })}`, s), p)
  const [signal, setSignal] = useState<{ run: string; name: string } | null>(null)
  const signals = (assignee ? [] : waiting.items ?? []).flatMap(r => (r.waits ?? []).filter(w => w.for === 'signal').map(w => ({ r, w })))
  return <main class="page">
    <div class="bar"><h1>Inbox</h1><span class="muted">what waits for a person</span>
      {[['for', assignee, `for ${assignee}`], ['workflow', workflow, workflow]].map(([key, value, says]) => value && <button class="chip" aria-pressed aria-label={`${plainText(says)}: show all`} onClick={() => set({ [key]: '' })}>{plainText(says)} ✕</button>)}</div>
    <Trouble error={list.error} />
    {list.items?.length === 0 && signals.length === 0 && <Empty><p>Nothing waits for an answer.</p></Empty>}
    <div class="cards">{list.items?.map(q => <article class="card" key={`${q.run}${q.node}${q.visit}`}>
      <header><strong>{plainText(q.node)}</strong><button class="link" title="Only questions of this workflow" onClick={() => set({ workflow: q.workflow })}>{plainText(q.workflow)}</button><RunLink id={q.run} />{q.assignee && <button class="link" title="Only questions for them" onClick={() => set({ for: q.assignee! })}>for {plainText(q.assignee)}</button>}<span class="muted right">asked <Ago at={q.asked} />{q.due && <>, due <time>{new Date(q.due).toLocaleString()}</time></>}</span></header>
      <p class="prompt"><Text of={q.prompt ?? 'It asks for an answer.'} /></p>
      <Answer q={q} />
    </article>)}</div>
    <More of={list}>Older questions</More>
    {signals.length > 0 && <><h2>Signals that runs wait for</h2><div class="table-wrap"><table class="table"><thead><tr><th>Signal</th><th>Run</th><th>Workflow</th><th>At</th><th>Until</th><th /></tr></thead>
      <tbody>{signals.map(({ r, w }) => <tr><td class="mono">{plainText(w.name ?? '')}</td><td><RunLink id={r.id} /></td><td>{plainText(r.workflow)}</td><td>{plainText(w.node)}</td><td>{w.until ? new Date(w.until).toLocaleString() : ''}</td><td class="num"><button onClick={() => setSignal({ run: r.id, name: w.name ?? '' })}>Send</button></td></tr>)}</tbody></table></div></>}
    <More of={waiting}>Look for signals of runs that have waited longer</More>
    {signal && <SendSignal run={signal.run} name={signal.name} close={() => setSignal(null)} />}
  </main>
}
