// Two runs, or one at two places, side by side: where they first went different ways, and
// what else is different.
import { useState } from 'preact/hooks'
import { get, query } from './api'
import { Empty, Pill, RunLink, Text, Trouble, useLoad, Value } from './parts'
import { params, set } from './router'
import { duration, plainText } from './text'
import type { RunStatus } from './types'

interface Side { run: string; version: number; seq: number; workflow: string; status: RunStatus; took_ms: number; path: { node: string; visit: number }[] }
interface FieldDiff { name: string; a?: unknown; b?: unknown }
interface Turn { to: string; outcome: string; evaluated?: { if: string; met: boolean; reads?: { name: string; value?: unknown; missing?: boolean }[] }[] }
interface VisitDiff { node: string; visit: number; in: string; fields?: FieldDiff[]; a?: Turn[]; b?: Turn[] }
interface Diff { a: Side; b: Side; same: boolean; first?: VisitDiff; decision?: VisitDiff; run?: FieldDiff[]; state?: FieldDiff[]; visits?: VisitDiff[]; latency?: { node: string; visit: number; a_ms: number; b_ms: number }[] }

const split = (s: string): [string, string] => { const i = s.indexOf('@'); return i < 0 ? [s, ''] : [s.slice(0, i), s.slice(i + 1)] }

export function DiffPage() {
  const a = params.value.get('a') ?? '', b = params.value.get('b') ?? ''
  const [left, setLeft] = useState(a), [right, setRight] = useState(b)
  const [run, at] = split(a)
  const d = useLoad(`${a} ${b}`, async s => a && b ? get<Diff>(`/v1/runs/${encodeURIComponent(run)}/diff${query({ at, with: b })}`, s) : undefined)
  return <main class="page">
    <form class="bar" onSubmit={e => { e.preventDefault(); set({ a: left.trim(), b: right.trim() }) }}>
      <h1>Compare</h1>
      <input class="mono grow" aria-label="Run A, as RUN or RUN@POSITION" placeholder="run A, or RUN@POSITION" value={left} onInput={e => setLeft((e.target as HTMLInputElement).value)} />
      <span class="muted">with</span>
      <input class="mono grow" aria-label="Run B, as RUN or RUN@POSITION" placeholder="run B, or RUN@POSITION" value={right} onInput={e => setRight((e.target as HTMLInputElement).value)} />
      <button class="primary">Compare</button>
    </form>
    <Trouble error={d.error} />
    {!a || !b ? <Empty><p>Two runs, or one at two positions (a seq, v12, node#2).</p></Empty> : null}
    {d.data && <Shown d={d.data} />}
  </main>
}

const visit = (v: { node: string; visit: number }) => v.visit > 1 ? `${v.node}#${v.visit}` : v.node

function Shown({ d }: { d: Diff }) {
  const first = d.decision ?? d.first
  return <>
    <div class="two">{([['A', d.a], ['B', d.b]] as [string, Side][]).map(([n, s]) => <section class="card"><header><strong>{n}</strong><RunLink id={s.run} at={s.seq}>{s.run}</RunLink><Pill status={s.status} /><span class="muted right">{duration(s.took_ms)}</span></header>
      <div class="path">{s.path.map((v, i) => <span class={`tag${first && v.node === first.node && v.visit === first.visit ? ' accent' : ''}`} key={i}>{plainText(visit(v))}</span>)}</div></section>)}</div>
    {d.same && <p class="card ok">They did the same, but for times.</p>}
    {first && <section class="card"><header><strong>{d.decision ? 'They went different ways at' : 'The first difference is at'} {plainText(visit(first))}</strong></header><Visit v={first} /></section>}
    {(d.run?.length ?? 0) > 0 && <Fields title="The runs" of={d.run!} />}
    {(d.state?.length ?? 0) > 0 && <Fields title="State" of={d.state!} />}
    {(d.visits?.length ?? 0) > 0 && <section><h2>Visits</h2>{d.visits!.map(v => <details class="card" key={visit(v)}><summary><strong class="mono">{plainText(visit(v))}</strong> <span class="muted">{v.in === 'both' ? 'is different' : `only in ${v.in.toUpperCase()}`}</span></summary><Visit v={v} /></details>)}</section>}
    {(d.latency?.length ?? 0) > 0 && <section><h2>How long visits took</h2><div class="table-wrap"><table class="table"><thead><tr><th>Visit</th><th class="num">A</th><th class="num">B</th><th class="num">B is</th></tr></thead><tbody>{d.latency!.slice(0, 30).map(l => <tr><td class="mono">{plainText(visit(l))}</td><td class="num">{duration(l.a_ms)}</td><td class="num">{duration(l.b_ms)}</td><td class={`num ${l.b_ms > l.a_ms ? 'bad' : 'ok'}`}>{l.b_ms > l.a_ms ? `${duration(l.b_ms - l.a_ms)} slower` : `${duration(l.a_ms - l.b_ms)} faster`}</td></tr>)}</tbody></table></div></section>}
  </>
}

function Visit({ v }: { v: VisitDiff }) {
  return <>
    {(v.a || v.b) && <div class="two">{[v.a, v.b].map((turns, i) => <div><span class="muted">{i ? 'B' : 'A'} goes to</span> {(turns ?? []).map(t => <div><strong>{plainText(t.to)}</strong> <span class="muted">{t.outcome}</span>{(t.evaluated ?? []).map(e => <div class="eval mono"><span class={e.met ? 'ok' : 'muted'}>{e.met ? 'met' : 'not met'}</span> <Text of={e.if} /> {(e.reads ?? []).map(r => <span class="tag">{plainText(r.name)} = {r.missing ? 'missing' : plainText(JSON.stringify(r.value))}</span>)}</div>)}</div>)}</div>)}</div>}
    {v.fields && <Fields of={v.fields} />}
  </>
}

function Fields({ of, title }: { of: FieldDiff[]; title?: string }) {
  return <section>{title && <h2>{title}</h2>}<div class="table-wrap"><table class="table diff"><thead><tr><th>What</th><th>A</th><th>B</th></tr></thead>
    <tbody>{of.map(f => <tr><td class="mono">{plainText(f.name)}</td><td class="was-a">{f.a === undefined ? <span class="muted">not there</span> : <Value of={f.a} />}</td><td class="is-b">{f.b === undefined ? <span class="muted">not there</span> : <Value of={f.b} />}</td></tr>)}</tbody></table></div></section>
}
