// One run: graph, timeline, state and events, all at the place where the slider stands.
import { useEffect, useMemo, useState } from 'preact/hooks'
import { get, post } from './api'
import { BudgetDialog } from './budget'
import { CheckpointDialog } from './checkpoints'
import { limits } from './cost'
import { Drawer } from './drawer'
import { Events, TheEvent } from './events'
import { ForkDialog } from './fork'
import { GraphView, type NodeLook } from './graph'
import { Icon } from './icons'
import { Answer, SendSignal } from './inbox'
import { Ago, attempt, Copy, Pill, RunLink, Text, Trouble, useLoad, Value } from './parts'
import { ResumeDialog } from './resume'
import { params } from './router'
import { below, RunModel } from './runmodel'
import { Scrubber } from './scrubber'
import { StateView } from './state'
import { count, duration, plainText, usd } from './text'
import { Timeline } from './timeline'
import type { List, Question, Run } from './types'

const none = { micro_usd: 0, tokens: 0 }
const panes = ['graph', 'timeline', 'state', 'events'] as const

export function RunPage({ id }: { id: string }) {
  const m = useMemo(() => new RunModel(id, Number(params.peek().get('at')) || 0), [id])
  useEffect(() => () => m.close(), [m])
  useEffect(() => keys(m), [m])
  const [pane, setPane] = useState<(typeof panes)[number]>('graph')
  const [side, setSide] = useState<'state' | 'event' | 'io'>('state')
  const run = m.run.value
  if (m.error.value) return <main class="page"><Trouble error={m.error.value} what={`Run ${id}`} /></main>
  if (m.loading.value || !run) return <main class="page"><p class="muted pad">Reading the run’s history…</p></main>
  const chosen = m.chosen.value
  return <main class={`run-page show-${pane}`}>
    <Head m={m} run={run} />
    <Scrubber m={m} />
    <div class="pane-tabs" role="tablist">{panes.map(p => <button role="tab" aria-selected={pane === p} onClick={() => setPane(p)}>{p}</button>)}</div>
    <div class="run-grid">
      <section class="panel p-graph" aria-label="Graph"><RunGraph m={m} /></section>
      <section class="panel p-side" aria-label={chosen ? 'Node' : 'State'}>
        {chosen ? <Drawer m={m} /> : <>
          <div class="tabs" role="tablist">
            <button role="tab" aria-selected={side === 'state'} onClick={() => setSide('state')}>State</button>
            <button role="tab" aria-selected={side === 'event'} onClick={() => setSide('event')}>Event</button>
            <button role="tab" aria-selected={side === 'io'} onClick={() => setSide('io')}>Input, output</button>
          </div>
          <div class="scroll">
            {side === 'state' && <StateView m={m} />}
            {side === 'event' && <TheEvent m={m} />}
            {side === 'io' && <div class="pad"><h4>Input</h4><Value of={run.input} label="input" /><h4>Output</h4><Value of={run.output} label="output" /></div>}
          </div>
        </>}
      </section>
      <section class="panel p-time" aria-label="Timeline"><h3 class="panel-title">Timeline</h3><Timeline m={m} /></section>
      <section class="panel p-events" aria-label="Events"><h3 class="panel-title">Events <span class="muted">{count(m.film.frames.length)}{m.cut.value && ', the first ones'}</span></h3><Events m={m} /></section>
    </div>
  </main>
}

function Head({ m, run }: { m: RunModel; run: Run }) {
  m.step.value
  const past = m.past.value
  const shot = m.film.shot(m.id)
  const status = past ? shot.status : run.status
  const [open, setOpen] = useState<'' | 'fork' | 'checkpoints' | 'resume' | 'budget'>('')
  const close = () => setOpen('')
  const [signal, setSignal] = useState<string | null>(null)
  const act = (what: string, body: unknown = {}) => void attempt(what, () => post(`/v1/runs/${run.id}/${what}`, body))
  const over = m.ended
  const cost = run.cost
  const why = past ? `As it stood after event ${m.film.at} of ${m.film.frames.length}. Only a fork can begin here.` : run.why
  return <header class="run-head">
    <div class="run-title">
      <h1><a href={`/workflows/${encodeURIComponent(run.workflow)}`}>{plainText(run.workflow)}</a><span class="muted"> v{run.workflow_version}</span></h1>
      <Pill status={status} />
      <span class="mono muted run-id" title={run.id}>{run.id}</span><Copy text={run.id} label="Copy the run’s ID" />
      <span class="muted">began <Ago at={run.created} />{run.ended && <>, took {duration(Date.parse(run.ended) - Date.parse(run.created))}</>}</span>
      {run.parent && <span class="muted">child of <RunLink id={run.parent.run} /> at {run.parent.node}</span>}
      {run.forked && <span class="muted">forked from <RunLink id={run.forked.run} /> at v{run.forked.version}</span>}
      {Object.entries(run.labels ?? {}).map(([k, v]) => <span class="tag">{plainText(`${k}=${v}`)}</span>)}
      {cost && (cost.spent.tokens > 0 || cost.limits) && <span class={`tag${cost.over ? ' warn' : ''}`} title={cost.reserved.tokens || cost.reserved.micro_usd ? `${usd(cost.reserved.micro_usd)} are set aside for calls under way` : undefined}>{usd(cost.spent.micro_usd)}, {count(cost.spent.tokens)} tokens{cost.limits && ` of ${limits(cost.limits)}`}</span>}
      {(run.breakpoints ?? []).map(b => <span class="tag" title="A breakpoint">stops at {plainText(b)}</span>)}
      {run.content && <span class="tag warn">content {run.content}</span>}
    </div>
    <p class={`why${past ? ' past' : ''}`}><Text of={why} /></p>
    <div class="actions" role="group" aria-label="What can be done">
      <button class={past ? 'primary' : ''} title="Start another run from here" onClick={() => { m.play(false); setOpen('fork') }}><Icon of="fork" />Fork{past ? ' from here' : ''}</button>
      <a class="button" href={`/diff?a=${run.id}&b=${run.forked ? run.forked.run : ''}`}>Compare</a>
      {!over && <button disabled={past} onClick={() => setSignal(run.waits?.find(w => w.for === 'signal')?.name ?? '')}>Signal</button>}
      {run.status === 'paused'
        ? <><button disabled={past} onClick={() => act('resume')}>Resume</button><button disabled={past} title="With other state, or other breakpoints" onClick={() => setOpen('resume')}>Resume with…</button></>
        : <button disabled={past || over} onClick={() => act('pause', { reason: 'from the page' })}>Pause</button>}
      <button disabled={past} title="Places that the run can go back to" onClick={() => setOpen('checkpoints')}>Checkpoints</button>
      {cost && !over && <button class={cost.over ? 'primary' : ''} disabled={past} onClick={() => setOpen('budget')}>Budget</button>}
      {run.status === 'failed' && <button disabled={past} onClick={() => act('retry')}>Retry</button>}
      <button class="danger" disabled={past || over} onClick={() => act('cancel', { reason: 'from the page' })}>Cancel</button>
    </div>
    {!over && <Questions m={m} run={run} past={past} />}
    {open === 'fork' && <ForkDialog m={m} close={close} />}
    {open === 'checkpoints' && <CheckpointDialog m={m} close={close} />}
    {open === 'resume' && <ResumeDialog m={m} close={close} />}
    {open === 'budget' && cost && <BudgetDialog budget={{ budget: 'of this run', limits: cost.limits ?? none, spent: cost.spent, reserved: cost.reserved }} run={run.id} close={close} />}
    {signal !== null && <SendSignal run={run.id} name={signal} close={() => setSignal(null)} />}
  </header>
}

// Questions are what the run asks people now.
function Questions({ m, run, past }: { m: RunModel; run: Run; past: boolean }) {
  const asks = (run.waits ?? []).some(w => w.for === 'input')
  const list = useLoad(`questions ${run.id}`, s => asks ? get<List<Question>>(`/v1/inbox?run=${run.id}`, s) : Promise.resolve({ items: [] }), run.version)
  const [open, setOpen] = useState('')
  if (!asks || !list.data) return null
  return <div class="questions">{list.data.items.map(q => {
    const key = `${q.node}#${q.visit}`
    return <section key={key} class="question"><div><p class="prompt-of" tabIndex={(q.prompt?.length ?? 0) > 400 ? 0 : undefined}><strong>{plainText(q.node)}</strong> asks: <Text of={q.prompt ?? ''} /></p>{open !== key && <button class="primary" disabled={past} title={past ? 'Go to the end to answer' : undefined} onClick={() => setOpen(key)}>Answer</button>}</div>
      {open === key && !past && <Answer q={q} done={() => { setOpen(''); m.chosen.value = '' }} />}</section>
  })}</div>
}

function RunGraph({ m }: { m: RunModel }) {
  m.step.value
  const { film } = m
  const runs = [...film.shots].filter(([, s]) => s.version > 0).map(([id]) => id)
  const [shown, setShown] = useState(m.id)
  const id = film.graphs[shown] ? shown : m.id
  const graph = film.graphs[id]
  if (!graph) return <p class="muted pad">The definition of this run is not here, so that there is no graph. Its events are below.</p>
  const shot = film.shot(id)
  const e = film.current?.event
  const items = itemsOf(shot.nodes)
  const fresh = e?.run === id ? (e.data?.node ?? '').replace(/\[\d+\]$/, '') : ''
  const look = (node: string): NodeLook => {
    const n = shot.nodes.get(node)
    const it = items.get(node)
    return { status: n?.status ?? '', visits: n?.completed ?? 0, fresh: fresh === node, tokens: shot.tokens.get(node), under: it ? `${it.done} of ${it.all} items done` : undefined }
  }
  return <>
    {runs.length > 1 && <label class="which">Graph of <select value={id} onChange={ev => setShown((ev.target as HTMLSelectElement).value)}>
      {runs.map(r => <option value={r}>{film.graphs[r]?.workflow ?? '?'}{r === m.id ? '' : ` (child at ${m.parents.get(r)?.node ?? ''}, ${r.slice(-6)})`}</option>)}
    </select></label>}
    <GraphView graph={graph} layoutKey={JSON.stringify(graph)} label={`Graph of ${graph.workflow}`} look={look}
      takenOf={(from, to) => below(m.taken.get(`${id}/${from}/${to}`), film.at)}
      focus={fresh || (e?.run === id && e.kind === 'edge.taken' ? e.data.to : undefined)}
      freshEdge={e?.kind === 'edge.taken' && e.run === id ? { from: e.data.from, to: e.data.to } : undefined}
      chosen={m.chosen.value.startsWith(id + '/') ? m.chosen.value.slice(id.length + 1) : ''} choose={node => { const k = `${id}/${node}`; m.chosen.value = m.chosen.value === k ? '' : k }} />
  </>
}

function itemsOf(nodes: Map<string, { status: string }>): Map<string, { done: number; all: number }> {
  const m = new Map<string, { done: number; all: number }>()
  for (const [id, n] of nodes) {
    const cut = id.endsWith(']') ? id.lastIndexOf('[') : -1
    if (cut < 0) continue
    const of = id.slice(0, cut)
    const it = m.get(of) ?? { done: 0, all: 0 }
    it.all++
    if (n.status === 'completed') it.done++
    m.set(of, it)
  }
  return m
}

function keys(m: RunModel): () => void {
  const press = (e: KeyboardEvent) => {
    const el = e.target as HTMLElement
    if (e.ctrlKey || e.metaKey || e.altKey || el.closest('input:not([type=range]),textarea,select,dialog,[contenteditable]')) return
    const { film } = m
    const n = film.frames.length
    switch (e.key) {
      case 'ArrowLeft': e.shiftKey ? m.visit(-1) : m.seek(film.at - 1, false); break
      case 'ArrowRight': e.shiftKey ? m.visit(1) : m.seek(film.at + 1); break
      case 'Home': m.seek(1); break
      case 'End': case 'l': m.seek(n); break
      case ' ': if (el.closest('button,[role=button],summary,a')) return; m.play(); break
      case 'Escape': if (!m.chosen.value) return; m.chosen.value = ''; break
      default: return
    }
    if (e.key.startsWith('Arrow')) m.play(false)
    e.preventDefault()
  }
  addEventListener('keydown', press)
  return () => removeEventListener('keydown', press)
}
