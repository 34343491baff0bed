// Who works: agents, workers, and what is due.
import { useState } from 'preact/hooks'
import { get, query } from './api'
import { Ago, Empty, More, now, RunLink, Text, Trouble, useLoad, usePages } from './parts'
import { count, duration, plainText, plural } from './text'
import type { List } from './types'

interface Task { run: string; node: string; visit: number; attempt: number; state?: string; since: string; progress?: string; lease_until?: string }
interface Agent { id?: string; name: string; description?: string; roles?: string[]; role?: string; provider?: string; model?: string; tools?: string[]; state: string; tasks: Task[]; queued: number; working: number; done: number; failed: number }
interface Worker { name: string; state: string; queues: string[]; handlers: string[]; seen: string; tasks: Task[] }
interface Queue { name: string; limit: number; running: number; ready: number; offered: number }
interface Timer { run: string; node?: string; for: string; at: string }

export function Agents() {
  const round = Math.floor(now.value / 2000)
  const agents = useLoad('agents', async s => {
    const all: Agent[] = []
    for (let cursor = ''; ;) {
      const page = await get<List<Agent>>(`/v1/agents${query({ limit: 500, cursor })}`, s)
      all.push(...page.items)
      if (!(cursor = page.next_cursor ?? '')) return all
    }
  }, round)
  const workers = usePages('workers', (cursor, s) => get<List<Worker>>(`/v1/workers${query({ limit: 200, cursor })}`, s), round)
  const timers = useLoad('timers', s => get<List<Timer>>('/v1/timers?limit=20', s), round)
  const [text, setText] = useState('')
  const all = agents.data ?? []
  const busy = (a: Agent) => a.working + a.queued
  const shown = all.filter(a => !text || [a.name, a.description, a.model, ...(a.roles ?? [])].some(s => s?.toLowerCase().includes(text.toLowerCase())))
    .sort((a, b) => busy(b) - busy(a) || b.done + b.failed - a.done - a.failed || a.name.localeCompare(b.name))
  const queues = usePages('queues', (cursor, s) => get<List<Queue>>(`/v1/queues${query({ limit: 200, cursor })}`, s), round)
  const polling = (queue: string) => (workers.items ?? []).filter(w => w.state !== 'gone' && w.queues.includes(queue)).length
  return <main class="page">
    <div class="bar"><h1>Agents</h1><span class="muted">{plural(all.length, 'agent')}, {all.reduce((s, a) => s + a.working, 0)} at work, {all.reduce((s, a) => s + a.queued, 0)} tasks queued</span><input class="search" type="search" aria-label="Search agents" placeholder="Search agents" value={text} onInput={e => setText((e.target as HTMLInputElement).value)} /></div>
    <Trouble error={agents.error} />
    {shown.length > 0 && <div class="table-wrap scroll-y"><table class="table"><thead><tr><th>Agent</th><th>Roles</th><th>Model</th><th>State</th><th class="num">Queued</th><th class="num">Done</th><th class="num">Failed</th><th class="grow">At work on</th></tr></thead>
      <tbody>{shown.map(a => <tr key={a.name}><td><strong title={plainText(a.description ?? '')}>{plainText(a.name)}</strong></td><td class="muted">{plainText((a.roles ?? []).join(', ') || a.role || '')}</td><td class="muted nowrap">{plainText([a.provider, a.model].filter(Boolean).join(' '))}</td>
        <td><span class={`pill s-${a.state === 'working' ? 'running' : 'none'}`}><i class="dot" aria-hidden="true" />{plainText(a.state)}</span></td><td class="num">{a.queued || ''}</td><td class="num">{a.done}</td><td class={`num${a.failed ? ' bad' : ' muted'}`}>{a.failed}</td>
        <td class="grow ellipsis">{(a.tasks ?? []).slice(0, 3).map(t => <span class="tag"><RunLink id={t.run} /> {plainText(t.node)}: {plainText(t.state ?? '')}, {duration(now.value - Date.parse(t.since))}</span>)}</td></tr>)}</tbody></table></div>}
    <h2>Workers</h2>
    <Trouble error={workers.error} />
    {workers.items?.length === 0 && <p class="muted">No worker has asked for tasks. <code>POST /v1/tasks/poll</code> is how one does; docs/workers.md says more.</p>}
    {(workers.items?.length ?? 0) > 0 && <div class="table-wrap"><table class="table"><thead><tr><th>Worker</th><th>State</th><th>Queues</th><th>Handlers</th><th>Last word</th><th class="grow">Holds</th></tr></thead>
      <tbody>{workers.items!.map(w => <tr><td><strong>{plainText(w.name)}</strong></td><td><span class={`pill s-${w.state === 'working' ? 'running' : w.state === 'gone' ? 'failed' : 'none'}`}><i class="dot" aria-hidden="true" />{w.state}</span></td><td>{plainText(w.queues.join(', '))}</td><td>{plainText(w.handlers.join(', '))}</td><td class="nowrap"><Ago at={w.seen} /></td><td class="grow">{w.tasks.map(t => <div><RunLink id={t.run} /> {plainText(t.node)} {t.progress && <span class="muted"><Text of={t.progress} /></span>} <span class="muted">since <Ago at={t.since} /></span></div>)}</td></tr>)}</tbody></table></div>}
    <More of={workers}>More workers</More>
    <h2>Queues</h2>
    <Trouble error={queues.error} />
    {queues.items?.length === 0 && <p class="muted">Nothing was queued since the daemon was started.</p>}
    {(queues.items?.length ?? 0) > 0 && <div class="table-wrap"><table class="table"><thead><tr><th>Queue</th><th class="num">Under way</th><th class="num">At once</th><th class="num">Wait for a place</th><th class="num">Wait for a worker</th><th class="num">Workers</th><th class="grow" /></tr></thead>
      <tbody>{queues.items!.map(q => <tr key={q.name}><td class="mono">{plainText(q.name)}</td><td class="num">{count(q.running)}</td><td class="num muted">{count(q.limit)}</td><td class="num">{count(q.ready)}</td><td class={`num${q.offered && !polling(q.name) ? ' bad' : ''}`}>{count(q.offered)}</td><td class="num">{polling(q.name) || ''}</td><td class="grow"><meter min={0} max={q.limit} value={Math.min(q.limit, q.running)} aria-label={`places taken in ${plainText(q.name)}`} /></td></tr>)}</tbody></table></div>}
    <More of={queues}>More queues</More>
    <h2>Due next</h2>
    {timers.data?.items.length === 0 ? <Empty><p>Nothing is due.</p></Empty> : <div class="table-wrap"><table class="table"><tbody>{(timers.data?.items ?? []).map(t => <tr><td class="nowrap">{new Date(t.at).toLocaleString()}</td><td>{t.for}</td><td>{plainText(t.node ?? '')}</td><td class="num"><RunLink id={t.run} /></td></tr>)}</tbody></table></div>}
  </main>
}
