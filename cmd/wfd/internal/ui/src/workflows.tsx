// Workflows: their graphs and versions, how their runs went, and a form to start one.
import { useState } from 'preact/hooks'
import { get, post, query } from './api'
import { emptyOf, lacking, SchemaForm } from './form'
import { GraphView } from './graph'
import { Icon } from './icons'
import { Ago, Empty, More, Pill, RunLink, Text, Trouble, useLoad, usePages, Value } from './parts'
import { pulse } from './pulse'
import { go, params, set } from './router'
import { whatOf } from './runs'
import { count, duration, plainText, usd } from './text'
import type { Definition, List, Row, Schema } from './types'

export function Workflows() {
  const defs = usePages('workflows', (cursor, s) => get<List<Definition>>(`/v1/workflows${query({ limit: 500, cursor })}`, s), pulse.value)
  const runs = useLoad('runs', s => get<List<Row>>('/v1/runs?limit=500', s), pulse.value)
  const by = new Map<string, Row[]>()
  for (const r of runs.data?.items ?? []) by.set(r.workflow, [...(by.get(r.workflow) ?? []), r])
  // Where one workflow runs all the time, the others are not among the newest.
  const rare = runs.data?.next_cursor ? (defs.items ?? []).map(d => d.name).filter(n => !by.has(n)).slice(0, fewRare) : []
  const own = useLoad(`rare ${rare.length}`, async s => new Map(await Promise.all(rare.map(async n => [n, (await get<List<Row>>(`/v1/runs${query({ workflow: n, limit: 50 })}`, s)).items] as [string, Row[]]))))
  return <main class="page">
    <div class="bar"><h1>Workflows</h1></div>
    <Trouble error={defs.error} />
    {defs.items?.length === 0 && <Empty><p>No definition is registered.</p><p><code>wfd workflow apply FILE</code> registers one; <code>wfd dev DIR</code> does whenever a file is saved.</p></Empty>}
    {(defs.items?.length ?? 0) > 0 && <div class="table-wrap"><table class="table"><thead><tr><th>Name</th><th class="num">Version</th><th>Registered</th><th class="num">Latest runs</th><th class="num">Went well</th><th class="num">p50</th><th class="num">p95</th><th class="num">Cost of a run</th><th /></tr></thead>
      <tbody>{defs.items!.slice().sort((a, b) => a.name.localeCompare(b.name)).map(d => {
        const s = statsOf(by.get(d.name) ?? own.data?.get(d.name) ?? [])
        return <tr><td><a href={`/workflows/${encodeURIComponent(d.name)}`}><strong>{plainText(d.name)}</strong></a></td><td class="num">{d.version}</td><td class="nowrap"><Ago at={d.registered!} /></td>
          <td class="num">{count(s.runs)}</td><td class="num">{s.rate}</td><td class="num nowrap">{s.p50}</td><td class="num nowrap">{s.p95}</td><td class="num nowrap">{s.cost}</td><td class="num"><a href={`/workflows/${encodeURIComponent(d.name)}?start=1`}>Start</a></td></tr>
      })}</tbody></table></div>}
    <More of={defs}>More workflows</More>
    <p class="muted">Of the newest 500 runs; of a workflow that has none among them, its own newest 50.</p>
  </main>
}

// fewRare is how many workflows are asked for their own runs.
const fewRare = 50

interface Stats { runs: number; rate: string; p50: string; p95: string; cost: string }

export function statsOf(rows: Row[]): Stats {
  const ended = rows.filter(r => r.status === 'completed' || r.status === 'failed')
  const took = ended.filter(r => r.status === 'completed' && r.ended).map(r => Date.parse(r.ended!) - Date.parse(r.created)).sort((a, b) => a - b)
  const at = (q: number) => took.length ? duration(took[Math.min(took.length - 1, Math.floor(q * took.length))]) : '–'
  const spent = rows.reduce((s, r) => s + (r.spent?.micro_usd ?? 0), 0)
  return { runs: rows.length, cost: spent ? usd(Math.round(spent / rows.length)) : '–', rate: ended.length ? Math.round(100 * took.length / ended.length) + ' %' : '–', p50: at(0.5), p95: at(0.95) }
}

export function WorkflowPage({ name }: { name: string }) {
  const version = Number(params.value.get('version')) || 0
  const p = pulse.value
  const def = useLoad(`${name} ${version}`, s => get<Definition>(`/v1/workflows/${encodeURIComponent(name)}?version=${version}`, s), p)
  const versions = useLoad(`${name} versions`, s => get<List<Definition>>(`/v1/workflows/${encodeURIComponent(name)}/versions?limit=1000`, s), p)
  const runs = useLoad(`${name} runs`, s => get<List<Row>>(`/v1/runs?limit=500&workflow=${encodeURIComponent(name)}`, s), p)
  const d = def.data
  const starting = params.value.get('start') !== null
  const [tab, setTab] = useState<'runs' | 'source'>('runs')
  const [node, setNode] = useState('')
  if (def.error && !d) return <main class="page"><Trouble error={def.error} what={name} /></main>
  if (!d) return <main class="page"><p class="muted pad">…</p></main>
  const s = statsOf(runs.data?.items ?? [])
  return <main class="page">
    <div class="bar"><h1>{plainText(d.name)}</h1>
      <label class="muted">version <select aria-label="Version" value={String(d.version)} onChange={e => set({ version: (e.target as HTMLSelectElement).value })}>{(versions.data?.items ?? [d]).slice().reverse().map(v => <option value={String(v.version)}>{v.version}</option>)}</select></label>
      <span class="muted">registered <Ago at={d.registered!} /></span><span class="mono muted" title={d.hash}>{d.hash.slice(0, 12)}</span>
      <button class="primary right" onClick={() => set({ start: starting ? '' : '1' })} aria-expanded={starting}>Start a run</button>
    </div>
    {d.definition?.description && <p class="muted"><Text of={d.definition.description} /></p>}
    {starting && <Start def={d} />}
    <dl class="figures"><div><dt>Runs</dt><dd>{count(s.runs)}{runs.data?.next_cursor ? '+' : ''}</dd></div><div><dt>Went well</dt><dd>{s.rate}</dd></div><div><dt>p50</dt><dd>{s.p50}</dd></div><div><dt>p95</dt><dd>{s.p95}</dd></div><div><dt>Cost of a run</dt><dd>{s.cost}</dd></div></dl>
    {d.graph && <section class="panel graph-box" aria-label="Graph"><GraphView graph={d.graph} layoutKey={JSON.stringify(d.graph)} label={`Graph of ${d.name}`} chosen={node} choose={n => setNode(n === node ? '' : n)} /></section>}
    {node && d.definition?.nodes?.[node] && <section class="card" aria-label="Node"><header><strong class="mono">{plainText(node)}</strong><button class="icon right" aria-label="Close node" onClick={() => setNode('')}><Icon of="close" /></button></header><Value of={d.definition.nodes[node]} label="definition of the node" /></section>}
    <div class="tabs" role="tablist"><button role="tab" aria-selected={tab === 'runs'} onClick={() => setTab('runs')}>Runs</button><button role="tab" aria-selected={tab === 'source'} onClick={() => setTab('source')}>Definition</button></div>
    {tab === 'source' && <Value of={d.source || d.definition} label="definition" />}
    {tab === 'runs' && <div class="table-wrap"><table class="table runs"><tbody>{(runs.data?.items ?? []).slice(0, 20).map(r => <tr onClick={e => { if (!(e.target as Element).closest('a')) go(`/runs/${r.id}`) }}>
      <td><Pill status={r.status} /></td><td><RunLink id={r.id} /></td><td class="num">v{r.workflow_version}</td><td class="grow ellipsis"><Text of={whatOf(r)} /></td><td class="nowrap"><Ago at={r.created} /></td><td class="num nowrap">{r.ended ? duration(Date.parse(r.ended) - Date.parse(r.created)) : ''}</td></tr>)}</tbody></table></div>}
    {tab === 'runs' && <a href={`/runs?workflow=${encodeURIComponent(d.name)}`}>All its runs</a>}
  </main>
}

function Start({ def }: { def: Definition }) {
  const schema = def.definition?.input as Schema | undefined
  const [value, setValue] = useState<unknown>(() => emptyOf(schema))
  const [error, setError] = useState<unknown>(null)
  const [busy, setBusy] = useState(false)
  const missing = lacking(schema, value)
  return <form class="card start" aria-label={`Start ${def.name}`} onSubmit={async e => {
    e.preventDefault()
    setBusy(true)
    try {
      const r = await post<{ id: string }>(`/v1/workflows/${encodeURIComponent(def.name)}/runs`, { version: def.version, ...(value === undefined ? {} : { input: value }) })
      go(`/runs/${r.id}`)
    } catch (err) { setError(err); setBusy(false) }
  }}>
    {schema || def.definition?.input ? <SchemaForm schema={schema} value={value} change={setValue} id="start" /> : <SchemaForm schema={undefined} value={value} change={setValue} id="start" />}
    <Trouble error={error} />
    <div class="dialog-foot">{missing.length > 0 && <span class="muted">{plainText(missing.join(', '))} {missing.length === 1 ? 'has' : 'have'} to be filled in</span>}<button class="primary" disabled={busy || missing.length > 0}>Start v{def.version}</button></div>
  </form>
}
