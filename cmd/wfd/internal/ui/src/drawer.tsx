// One node of a run: how it was come to, what it was asked, what it did, what it cost.
import { useMemo, useState } from 'preact/hooks'
import { get, query } from './api'
import { lineOf } from './film'
import { Icon } from './icons'
import { Pill, RunLink, Text, Trouble, useLoad, Value } from './parts'
import type { RunModel } from './runmodel'
import { count, duration, plainText, plural, usd } from './text'
import type { Definition, Event, Failure, Run, Usage } from './types'

interface Try { node: string; visit: number; attempt: number; from: number; to: number; end: string; agent?: string; model?: string; result?: unknown; failure?: Failure; usage?: Usage; tools: Event[]; ignored?: string; child?: string; asked?: string; answer?: unknown; answeredBy?: string; turn?: Event; ended?: Event; plan?: Event }

// triesOf reads the attempts of a node off its events, up to the one that is looked at.
export function triesOf(events: Event[]): Try[] {
  const tries: Try[] = []
  const chosen = new Map<string, any>() // by node: items go on beside each other
  const latest = new Map<string, Try>()
  const add = (t: Try) => { tries.push(t); latest.set(t.node, t); return t }
  for (const e of events) {
    const d = e.data ?? {}
    const at = Date.parse(e.time)
    const last = (visit: number) => {
      const t = latest.get(d.node)
      return t?.visit === visit ? t : add({ node: d.node, visit, attempt: 0, from: 0, to: 0, end: '', tools: [] })
    }
    switch (e.kind) {
      case 'agent.chosen': chosen.set(d.node, d); break
      case 'node.started': {
        const by = chosen.get(d.node)
        const his = by?.attempt === d.attempt && by?.visit === d.visit
        add({ node: d.node, visit: d.visit, attempt: d.attempt, from: at, to: 0, end: 'running', tools: [], agent: his ? by.agent : undefined, model: his ? by.model : undefined })
        break
      }
      case 'tool.called': last(d.visit).tools.push(e); break
      case 'chat.turn': { const t = last(d.visit); t.from ||= at; t.to = at; t.end = d.missed ? 'failed' : 'completed'; t.turn = e; t.usage = d.usage; break }
      case 'chat.ended': last(d.visit).ended = e; break
      case 'plan.made': { const t = last(d.visit); t.plan = e; t.usage = d.usage; break }
      case 'child.started': { const t = last(d.visit); t.child = d.child; t.from ||= at; t.end = 'running'; break }
      case 'input.requested': { const t = last(d.visit); t.asked = d.prompt; t.from ||= at; t.end = 'waiting'; break }
      case 'input.received': { const t = last(d.visit); t.answer = d.value; t.answeredBy = e.actor; break }
      case 'node.completed': { const t = last(d.visit); t.from ||= at; t.to = at; t.end = 'completed'; t.result = d.result; t.usage = d.usage ?? t.usage; break } // of a chat its turns have it
      case 'node.failed': { const t = last(d.visit); t.from ||= at; t.to = at; t.end = 'failed'; t.failure = d; t.usage = d.usage ?? t.usage; break }
      case 'node.lost': { const t = last(d.visit); t.to = at; t.end = 'lost'; break }
      case 'node.skipped': { const t = last(d.visit); t.to = at; t.end = 'skipped'; break }
      case 'result.ignored': last(d.visit).ignored = d.reason; break
    }
  }
  return tries
}

export function costOf(u: Usage): number | undefined {
  if (!u.price) return undefined
  const cached = Math.min(u.cached_tokens ?? 0, u.input_tokens)
  return Math.ceil(((u.input_tokens - cached) * u.price.input + cached * u.price.cached + u.output_tokens * u.price.output) / 1e6)
}

export function Spent({ usage }: { usage: Usage }) {
  const cost = costOf(usage)
  return <span class="mono">{count(usage.input_tokens)} → {count(usage.output_tokens)} tokens{cost !== undefined && `, ${usd(cost)}`}{usage.model && <span class="muted"> {plainText(usage.model)}</span>}</span>
}

// fewTries are shown at first, the newest ones.
const fewTries = 40

export function Drawer({ m }: { m: RunModel }) {
  m.step.value
  const key = m.chosen.value
  const cut = key.indexOf('/')
  const run = key.slice(0, cut), node = key.slice(cut + 1)
  const { film } = m
  const graph = film.graphs[run]
  const kind = graph?.nodes.find(n => n.id === node)?.kind ?? ''
  const at = film.at
  const events = useMemo(() => eventsOf(m, run, node), [key, at, film.frames.length])
  const tries = useMemo(() => triesOf(events), [events])
  const came = useMemo(() => film.frames.slice(0, at).map(f => f.event).filter(e => e.run === run && e.kind === 'edge.taken' && e.data.to === node), [key, at, film.frames.length])
  const shot = film.shot(run).nodes.get(node)
  // A child run has a version of its own, which need not be the newest.
  const def = useLoad(`definition ${run}`, async s => {
    const r = run === m.id && m.run.value ? m.run.value : await get<Run>(`/v1/runs/${run}`, s)
    return get<Definition>(`/v1/workflows/${encodeURIComponent(r.workflow)}?version=${r.workflow_version ?? 0}`, s)
  })
  const spec = def.data?.definition?.nodes?.[node]
  const settings = spec?.[kind] && typeof spec[kind] === 'object' ? { ...spec, ...spec[kind] } : spec
  const [many, setMany] = useState(fewTries)
  const total = tries.reduce((s, t) => { const c = t.usage && costOf(t.usage); return c ? s + c : s }, 0)
  // Its own attempts come before those of its items, the newest first.
  const shown = [...tries.filter(t => t.node === node).reverse(), ...tries.filter(t => t.node !== node).reverse()]
  const items = new Set(tries.map(t => t.node).filter(n => n !== node)).size
  return <div class="drawer" data-node={node}>
    <header class="drawer-head">
      <h3><span class="mono">{node}</span> <span class="muted">{kind}</span></h3>
      <Pill status={shot?.status ?? ''} />
      <button class="icon" aria-label="Close node" title="Close (Escape)" onClick={() => { m.chosen.value = '' }}><Icon of="close" /></button>
    </header>
    <div class="drawer-body">
      {tries.length > 0 && <p class="muted">{plural(new Set(tries.map(t => t.visit)).size, 'visit')}, {plural(tries.length, 'attempt')}{items > 0 && `, ${plural(items, 'item')}`}{total > 0 && `, ${usd(total)}`}</p>}
      {settings?.prompt && <section><h4>Prompt, as it is defined</h4><Value of={settings.prompt} label="prompt" /></section>}
      {came.length > 0 && <section><h4>How it was come to</h4><ul class="came">{came.map(e => <li>
        <button class="link mono" onClick={() => m.seek(film.indexOf(e.seq), false)}>{e.data.from}{e.data.visit > 1 ? `#${e.data.visit}` : ''} →</button> <span class="muted">{e.data.outcome}</span>
        {(e.data.evaluated ?? []).map((v: any) => <div class="eval mono"><span class={v.met ? 'ok' : 'muted'}>{v.met ? '✓' : '✗'}</span> <Text of={v.if} /> {(v.reads ?? []).map((r: any) => <span class="tag">{plainText(r.name)} = {r.missing ? 'missing' : plainText(JSON.stringify(r.value))}</span>)}</div>)}
      </li>)}</ul></section>}
      <section><h4>Attempts</h4>
        {tries.length === 0 && <p class="muted">Not come to here.</p>}
        {shown.slice(0, many).map(t => {
          const text = m.streaming.value.get(`${t.node}#${t.visit}.${t.attempt}`)
          return <article class="try" key={`${t.node}#${t.visit}.${t.attempt}`}>
            <div class="try-head"><strong>{t.node !== node && <span class="mono">{t.node.slice(node.length)} </span>}#{t.visit}{t.attempt > 1 ? `.${t.attempt}` : ''}</strong><Pill status={t.end as any} />{t.to > 0 && <span class="mono muted">{duration(t.to - t.from)}</span>}{t.agent && <a href="/agents">{plainText(t.agent)}</a>}</div>
            {t.usage && <div><Spent usage={t.usage} /></div>}
            {t.turn && <Turn of={t.turn} />}
            {t.ended && <ChatEnd of={t.ended} />}
            {t.plan && <Plan of={t.plan} />}
            {t.attempt > 0 && asks.has(kind) && <Asked run={run} node={t.node} visit={t.visit} attempt={t.attempt} />}
            {t.child && <div>child run <RunLink id={t.child} /></div>}
            {t.asked && <div class="asked"><Text of={t.asked} /></div>}
            {t.answer !== undefined && <div><span class="muted">answered by {plainText(t.answeredBy ?? '')}</span><Value of={t.answer} label="answer" /></div>}
            {t.tools.map(e => <details class="tool"><summary><span class="mono">{plainText(`${e.data.server}.${e.data.tool}`)}</span> <span class="muted">{duration(e.data.took_ns / 1e6)}</span>{e.data.error && <span class="tag bad">failed</span>}</summary><h5>Arguments</h5><Value of={e.data.arguments} /><h5>{e.data.error ? 'Error' : 'Result'}</h5><Value of={e.data.error ?? e.data.result} /></details>)}
            {t.end === 'running' && text && <div class="stream" aria-live="off"><Value of={text} label="answer as it comes" /></div>}
            {t.failure && <div class="failure"><span class="tag bad">{t.failure.class}</span> <Text of={t.failure.message} /></div>}
            {t.result !== undefined && <Value of={textOf(t.result)} label="result" />}
            {t.ignored && <div class="muted">a late result was ignored: <Text of={t.ignored} /></div>}
          </article>
        })}
        {tries.length > many && <button class="link" onClick={() => setMany(many + 200)}>{plural(tries.length - many, 'more attempt')}</button>}
      </section>
      {settings && <details><summary>Definition of the node</summary><Value of={spec} /></details>}
      <details><summary>{plural(events.length, 'event')}</summary><ul class="raw">{events.map(e => <li><button class="link mono" onClick={() => m.seek(film.indexOf(e.seq), false)}>{e.seq}</button> <span>{e.kind}</span> <span class="muted">{plainText(lineOf(e))}</span><details><summary class="muted">data</summary><Value of={e.data} /></details></li>)}</ul></details>
    </div>
  </div>
}

const asks = new Set(['agent', 'converge', 'exec', 'http', 'worker', 'chat', 'plan'])

interface Given { prompt?: string; input?: unknown; settings?: Record<string, unknown> }

// Asked is what an attempt was given, with the values that the run had then.
function Asked({ run, node, visit, attempt }: { run: string; node: string; visit: number; attempt: number }) {
  const [open, setOpen] = useState(false)
  const given = useLoad(`asked ${run} ${node}#${visit}.${attempt} ${open}`, s => open ? get<Given>(`/v1/runs/${run}/asked${query({ node: `${node}#${visit}`, attempt })}`, s) : Promise.resolve({} as Given))
  return <details class="asked-of" onToggle={e => setOpen((e.target as HTMLDetailsElement).open)}><summary>What it was given</summary>
    <Trouble error={given.error} />
    {given.data?.prompt && <><h5>Prompt</h5><Value of={given.data.prompt} label="prompt as it was asked" /></>}
    {given.data?.settings && Object.keys(given.data.settings).length > 0 && <><h5>Settings</h5><Value of={given.data.settings} label="settings" /></>}
    {given.data?.input !== undefined && given.data.input !== null && <><h5>Input</h5><Value of={given.data.input} label="input of the node" /></>}
  </details>
}

// Turn is what a participant of a chat said.
function Turn({ of: { data: d } }: { of: Event }) {
  return <div class="turn"><div><strong>{plainText(d.speaker)}</strong> <span class="muted">round {d.round}</span> {d.vote && <span class={`tag${d.vote === 'reject' ? ' bad' : ''}`} title={d.vote_read ? 'read out of what was said' : undefined}>{d.vote}</span>}</div>
    {d.missed ? <div class="failure"><span class="tag bad">{d.missed.class}</span> <Text of={d.missed.message} /></div> : <Value of={textOf(d.message)} label="message" />}
    {d.proposes !== undefined && d.proposes !== null && <><h5>Proposes</h5><Value of={textOf(d.proposes)} /></>}</div>
}

function ChatEnd({ of: { data: d } }: { of: Event }) {
  return <div><span class="tag">{plainText(d.outcome)}</span> after {plural(d.turns, 'turn')}: {d.approve} of {d.of} approve{d.reason && <>; <Text of={d.reason} /></>}</div>
}

// Plan is the tasks that an agent has made of a goal.
function Plan({ of: { data: d } }: { of: Event }) {
  return <ol class="plan" start={0}>{(d.tasks ?? []).map((t: any) => <li><Text of={t.description} /> <span class="muted">{plainText(t.role)}{t.prerequisites?.length > 0 && `, after ${t.prerequisites.join(', ')}`}</span></li>)}</ol>
}

// textOf is the text of an answer that is nothing but text.
const textOf = (r: any) => r && typeof r === 'object' && Object.keys(r).length === 1 && typeof r.text === 'string' ? r.text : r

function eventsOf(m: RunModel, run: string, node: string): Event[] {
  const own = m.byNode.get(`${run}/${node}`) ?? []
  const items = [...m.byNode.keys()].filter(k => k.startsWith(`${run}/${node}[`)).flatMap(k => m.byNode.get(k)!)
  return [...own, ...items].sort((a, b) => a - b).filter(i => i < m.film.at).map(i => m.film.frames[i].event)
}
