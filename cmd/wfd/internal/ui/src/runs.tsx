// The runs, newest first, as they come and go.
import { useEffect, useRef, useState } from 'preact/hooks'
import { get, query } from './api'
import { short } from './film'
import { Icon } from './icons'
import { Ago, Empty, now, Pill, RunLink, tell, Text, Trouble, useLoad } from './parts'
import { pulse } from './pulse'
import { go, params, set, setAll } from './router'
import { count, duration, plainText } from './text'
import type { Definition, List, Row, RunStatus } from './types'

const statuses: RunStatus[] = ['running', 'waiting', 'paused', 'completed', 'failed', 'cancelled']
const pageOf = 100

export function Runs() {
  const status = params.value.get('status') ?? ''
  const workflow = params.value.get('workflow') ?? ''
  const text = params.value.get('q') ?? ''
  const labels = params.value.getAll('label')
  const which = JSON.stringify([status, workflow, labels])
  const asked = `/v1/runs${query({ status, workflow, limit: pageOf })}${labels.map(l => `&label=${encodeURIComponent(l)}`).join('')}`
  const workflows = useLoad('workflow names', s => get<List<Definition>>('/v1/workflows?limit=1000', s))
  const [{ rows, next }, setPage] = useState<{ key: string; rows: Row[]; next: string }>({ key: '', rows: [], next: '' })
  const [totals, setTotals] = useState<Record<string, number>>({})
  const [error, setError] = useState<unknown>(null)
  const [loaded, setLoaded] = useState(false)
  const [chosen, setChosen] = useState(-1)
  const search = useRef<HTMLInputElement>(null)

  const p = pulse.value
  useEffect(() => {
    const abort = new AbortController()
    void (async () => {
      try {
        const [list, sums] = await Promise.all([get<List<Row>>(asked, abort.signal), get<Record<string, number>>('/v1/totals', abort.signal)])
        const key = which
        setPage(old => { // what was paged in below stays
          const oldest = list.items.at(-1)
          const ids = new Set(list.items.map(r => r.id))
          const below = old.key === key && oldest && list.next_cursor ? old.rows.filter(r => !ids.has(r.id) && r.created < oldest.created) : []
          return { key, rows: [...list.items, ...below], next: below.length ? old.next : list.next_cursor ?? '' }
        })
        setTotals(sums)
        setError(null)
        setLoaded(true)
      } catch (e) {
        if ((e as Error).name !== 'AbortError') { setError(e); setLoaded(true) }
      }
    })()
    return () => abort.abort()
  }, [which, p])

  const shown = rows.filter(r => !text || matches(r, text.toLowerCase()))
  useEffect(() => {
    const press = (e: KeyboardEvent) => {
      if (e.ctrlKey || e.metaKey || e.altKey) return
      const typing = (e.target as HTMLElement).closest('input,textarea,select,dialog')
      if (e.key === '/' && !typing) { search.current?.focus(); e.preventDefault(); return }
      if (typing) return
      if (e.key === 'j' || e.key === 'ArrowDown') { setChosen(c => Math.min(shown.length - 1, c + 1)); e.preventDefault() }
      if (e.key === 'k' || e.key === 'ArrowUp') { setChosen(c => Math.max(0, c - 1)); e.preventDefault() }
      if (e.key === 'Enter' && shown[chosen] && (e.target as HTMLElement).closest('a,button') === null) go(`/runs/${shown[chosen].id}`)
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  })

  const more = async () => {
    const list = await get<List<Row>>(`${asked}&cursor=${encodeURIComponent(next)}`)
    setPage(old => ({ ...old, rows: [...old.rows, ...list.items], next: list.next_cursor ?? '' }))
  }
  // find asks the daemon for what these rows need not have: a label, or a run by its ID.
  const find = (what: string) => {
    if (/^[0-9A-HJKMNP-TV-Z]{26}$/i.test(what)) return go(`/runs/${what.toUpperCase()}`)
    if (/^[^=]+=/.test(what)) { set({ q: '' }); return setAll('label', [...new Set([...labels, what])]) }
    if (what && shown.length === 0) tell('no run of those that are listed is like that; write key=value for a label, or the whole ID of a run')
  }
  const all = Object.values(totals).reduce((a, b) => a + b, 0)
  return <main class="page">
    <div class="bar">
      <h1>Runs</h1>
      <div class="chips" role="group" aria-label="Status">
        <button class="chip" aria-pressed={!status} onClick={() => set({ status: '' })}>all <b>{count(all)}</b></button>
        {statuses.map(s => <button class={`chip s-${s}`} aria-pressed={status === s} onClick={() => set({ status: status === s ? '' : s })}><i class="dot" aria-hidden="true" />{s} <b>{count(totals[s] ?? 0)}</b></button>)}
      </div>
      <select class="of-workflow" aria-label="Workflow" value={workflow} onChange={e => set({ workflow: (e.target as HTMLSelectElement).value })}><option value="">every workflow</option>
        {[...new Set([...(workflow ? [workflow] : []), ...(workflows.data?.items ?? []).map(d => d.name)])].sort().map(n => <option value={n}>{plainText(n)}</option>)}</select>
      {labels.map(l => <button class="chip" aria-pressed aria-label={`Label ${plainText(l)}: do not ask for it`} onClick={() => setAll('label', labels.filter(x => x !== l))}>{plainText(l)} ✕</button>)}
      <form class="search" role="search" onSubmit={e => { e.preventDefault(); find(text.trim()) }}>
        <input ref={search} type="search" placeholder="Search, key=value or an ID ( / )" aria-label="Search these runs; key=value and Enter: all with this label; an ID and Enter: that run" value={text} onInput={e => set({ q: (e.target as HTMLInputElement).value })} />
      </form>
    </div>
    <Trouble error={error} />
    {loaded && shown.length === 0 && !error && <Empty>
      {text || status || workflow || labels.length ? <p>No run is like that.</p> : <><p>There are no runs yet.</p><p>Start one from <a href="/workflows">a workflow</a>, or with <code>wfd run NAME</code>.</p></>}
    </Empty>}
    {shown.length > 0 && <div class="table-wrap"><table class="table runs">
      <thead><tr><th>Status</th><th>Workflow</th><th>Run</th><th class="grow">What</th><th class="num">Visits</th><th class="num">Failures</th><th>Began</th><th class="num">Took</th></tr></thead>
      <tbody>{shown.map((r, i) => <tr key={r.id} class={i === chosen ? 'chosen' : ''} onClick={e => { if (!(e.target as Element).closest('a,button') && !getSelection()?.toString()) go(`/runs/${r.id}`) }}>
        <td><Pill status={r.status} /></td>
        <td class="name"><button class="link" title={`${plainText(r.workflow)}: only its runs`} onClick={() => set({ workflow: r.workflow })}>{plainText(r.workflow)}</button></td>
        <td><RunLink id={r.id}>{short(r.id)}</RunLink>{r.parent && <span class="muted" title="child run"> ↳</span>}{r.forked_from && <span class="muted" title="fork"> <Icon of="fork" /></span>}</td>
        <td class="grow ellipsis"><Text of={whatOf(r)} /></td>
        <td class="num">{r.completed}</td>
        <td class={`num${r.failures ? ' bad' : ' muted'}`}>{r.failures}</td>
        <td class="nowrap"><Ago at={r.created} /></td>
        <td class="num nowrap">{duration((r.ended ? Date.parse(r.ended) : now.value) - Date.parse(r.created))}</td>
      </tr>)}</tbody>
    </table></div>}
    {next && <button class="more" onClick={() => void more()}>Older runs</button>}
  </main>
}

function matches(r: Row, text: string): boolean {
  return [r.id, r.workflow, r.status, r.failure?.message, r.failure?.node, r.reason, ...Object.entries(r.labels ?? {}).map(([k, v]) => `${k}=${v}`)].some(s => s?.toLowerCase().includes(text))
}

// whatOf says in a line how a run stands.
export function whatOf(r: Row): string {
  if (r.damaged) return r.why ?? ''
  switch (r.status) {
    case 'running': return r.why ?? ''
    case 'failed': return r.failure ? `${r.failure.node ? r.failure.node + ': ' : ''}${r.failure.message}` : ''
    case 'paused': case 'cancelled': return r.reason ?? ''
    case 'completed': return r.output !== undefined ? (typeof r.output === 'string' ? r.output : JSON.stringify(r.output)) : ''
    case 'waiting': return r.waits?.some(w => w.for === 'retry') && r.why ? r.why : 'waits for ' + (r.waits ?? []).map(w => `${w.for === 'input' ? 'an answer' : w.for === 'signal' ? `signal ${w.name}` : w.for === 'timer' ? 'its time' : w.for} at ${w.node}`).join(', ')
  }
  return ''
}
