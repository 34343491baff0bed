// A fork: another run that begins where this one stood, with another past.
import { useMemo, useState } from 'preact/hooks'
import { get, post, query } from './api'
import { costOf } from './drawer'
import { JSONField } from './form'
import { Dialog, Text, Trouble, useLoad } from './parts'
import { changedOf, StateEdit } from './resume'
import { go } from './router'
import type { RunModel } from './runmodel'
import { count, duration, plainText, plural, usd } from './text'
import type { Definition, List } from './types'

// Redone is what the run itself did after the place where a fork would begin: the best
// guess at what the fork will do, and what it will cost.
export interface Redone { kept: number; visits: string[]; ms: number; tokens: number; cost: number; unpriced: boolean }

// spends are the events that end a call of a model.
const spends = new Set(['node.completed', 'node.failed', 'chat.turn', 'plan.made'])

export function redone(m: RunModel, at: number): Redone {
  const { frames } = m.film
  const done = new Set<string>(), again = new Map<string, string>()
  const r: Redone = { kept: 0, visits: [], ms: 0, tokens: 0, cost: 0, unpriced: false }
  const open = new Map<string, string>()
  for (let i = 0; i < frames.length; i++) {
    const e = frames[i].event
    const d = e.data ?? {}
    const key = `${e.run}/${d.node}#${d.visit}`
    const name = `${d.node}${d.visit > 1 ? `#${d.visit}` : ''}`
    if (i === at) for (const [k, n] of open) again.set(k, n) // what is under way there is begun anew
    if (e.kind === 'node.scheduled' && i < at) open.set(key, name)
    if (e.kind === 'node.completed' && i < at) { done.add(key); open.delete(key) }
    if (i >= at && (e.kind === 'node.started' || e.kind === 'input.requested' || e.kind === 'child.started') && !done.has(key)) again.set(key, name)
    if (i < at && (e.kind === 'node.failed' && d.then !== 'retry' || e.kind === 'node.skipped')) open.delete(key)
    if (i >= at && d.usage && spends.has(e.kind)) {
      r.tokens += d.usage.input_tokens + d.usage.output_tokens
      const c = costOf(d.usage)
      if (c === undefined) r.unpriced = true
      else r.cost += c
    }
  }
  r.kept = done.size
  r.visits = [...again.values()]
  for (const b of m.bars) if (b.what === 'run' && again.has(`${b.run}/${b.node}#${b.visit}`) && b.to) r.ms += b.to - b.from
  return r
}

export function ForkDialog({ m, close }: { m: RunModel; close: () => void }) {
  const { film } = m
  const at = useMemo(() => film.at, [])
  const seq = film.frames[at - 1].event.seq
  const shot = film.shot(m.id)
  const run = m.run.value!
  const state = useMemo(() => new Map(shot.state), [])
  const [set, setSet] = useState<Record<string, unknown>>({})
  const [input, setInput] = useState<unknown>(run.input)
  const [version, setVersion] = useState(run.workflow_version ?? 0)
  const [pause, setPause] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const [busy, setBusy] = useState(false)
  const versions = useLoad(run.workflow, s => get<List<Definition>>(`/v1/workflows/${encodeURIComponent(run.workflow)}/versions${query({ limit: 1000 })}`, s))
  const guess = useMemo(() => redone(m, at), [at])
  const send = async () => {
    setBusy(true)
    const changed = changedOf(set, state)
    try {
      const r = await post<{ id: string }>(`/v1/runs/${m.id}/fork`, {
        at: String(seq), pause, ...(Object.keys(changed).length ? { set: changed } : {}),
        ...(JSON.stringify(input) !== JSON.stringify(run.input) ? { input } : {}),
        ...(version !== run.workflow_version ? { workflow: run.workflow, version } : {}),
      })
      go(`/runs/${r.id}`)
    } catch (e) { setError(e); setBusy(false) }
  }
  return <Dialog title={`Fork after event ${at} of ${film.frames.length}`} close={close} wide>
    <form class="dialog-body" onSubmit={e => { e.preventDefault(); void send() }}>
      <p>A new run begins where this one stood after <strong>{film.frames[at - 1].event.kind}</strong> (seq {seq}). This run stays as it is.</p>
      <section class="guess" aria-label="What will be done again">
        <div><b>{count(guess.kept)}</b> <span class="muted">visits are taken over, and cost nothing</span></div>
        <div><b>{count(guess.visits.length)}</b> <span class="muted">{guess.visits.length === 1 ? 'visit' : 'visits'} will be done, if it goes as this run went{guess.visits.length > 0 && ':'}</span> {guess.visits.slice(0, 12).map(v => <span class="tag">{plainText(v)}</span>)}{guess.visits.length > 12 && <span class="muted"> and {guess.visits.length - 12} more</span>}</div>
        {guess.visits.length > 0 && <div class="muted">about {duration(guess.ms)} of work, {plural(guess.tokens, 'token')}{guess.cost > 0 ? `, ${usd(guess.cost)}` : ''}{guess.unpriced ? ' (some models have no price)' : ''}</div>}
      </section>
      <details open={state.size > 0 && state.size <= 6}><summary>State as the fork begins{Object.keys(set).length > 0 && `, ${Object.keys(set).length} changed`}</summary>
        <StateEdit id="fork" state={state} edits={set} change={setSet} />
      </details>
      <details><summary>Input</summary><JSONField id="fork-input" name="Input" value={input} change={setInput} /></details>
      <div class="row">
        <label class="field">Definition<select value={String(version)} onChange={e => setVersion(Number((e.target as HTMLSelectElement).value))}>
          {(versions.data?.items ?? [{ name: run.workflow, version: run.workflow_version ?? 0, hash: '' }]).slice().reverse().map(v => <option value={String(v.version)}>{`${v.name} v${v.version}${v.version === run.workflow_version ? ', as this run' : ''}`}</option>)}
        </select></label>
        <label class="check"><input type="checkbox" checked={pause} onChange={e => setPause((e.target as HTMLInputElement).checked)} /> begin paused, to be looked at first</label>
      </div>
      {versions.error ? <p class="muted"><Text of="Other versions of the definition are not known here." /></p> : null}
      <Trouble error={error} />
      <div class="dialog-foot"><button type="button" onClick={close}>Not now</button><button class="primary" disabled={busy}>Fork</button></div>
    </form>
  </Dialog>
}
