// What starts runs by itself, and what is told to others: schedules and hooks.
import { get, post, query } from './api'
import { Ago, attempt, Empty, More, now, RunLink, tell, Text, Trouble, usePages } from './parts'
import { count, duration, moment, plainText, plural } from './text'
import type { List } from './types'

interface Fire { at: string; outcome: string; due?: string; until?: string; count?: number; run?: string; id?: string; reason?: string }
interface Pausing { name: string; paused: boolean; pause_reason?: string; paused_by?: string; broken?: string }
interface Schedule extends Pausing { spec: { cron: string; zone: string; workflow: string; overlap: string }; next?: string; queue?: string[]; started: number; skipped: number; failed: number; recent: Fire[] }
interface Incoming extends Pausing { path: string; spec: { form: string; workflow?: string; signal?: string }; started: number; skipped: number; failed: number; denied: number; denied_reason?: string; recent: Fire[] }
interface Outgoing extends Pausing { spec: { url: string; kinds: string[]; workflows?: string[] }; sent: number; behind: number; attempts: number; since?: string; dead: boolean; reason?: string }

const looks: Record<string, string> = { started: 'completed', signalled: 'completed', skipped: 'none', failed: 'failed', 'at work': 'running', paused: 'paused', dead: 'failed', broken: 'failed', failing: 'waiting' }
const Mark = ({ of }: { of: string }) => <span class={`pill s-${looks[of] ?? 'none'}`}><i class="dot" aria-hidden="true" />{of}</span>

const stateOf = (t: Pausing) => t.broken ? 'broken' : t.paused ? 'paused' : 'at work'

function State({ of, state = stateOf(of), why }: { of: Pausing; state?: string; why?: string }) {
  const said = of.broken ?? (of.paused ? [of.paused_by, of.pause_reason].filter(Boolean).join(': ') : why)
  return <><Mark of={state} />{said && <div class="muted ellipsis" title={plainText(said)}><Text of={said} /></div>}</>
}

// Fires are what became of the last times, the newest first.
function Fires({ of }: { of: Fire[] }) {
  const shown = of.slice(0, 3)
  return <>{shown.map(f => <div class="nowrap"><Mark of={f.outcome} /> {f.run && <RunLink id={f.run} />} {(f.count ?? 0) > 1 && <span>{plural(f.count!, 'time')} </span>}<span class="muted" title={plainText([f.due && `due ${moment(f.due)}`, f.id && `delivery ${f.id}`, f.reason].filter(Boolean).join(', '))}><Ago at={f.due ?? f.at} />{f.reason && <> · {plainText(f.reason).slice(0, 60)}</>}</span></div>)}
    {of.length === 0 && <span class="muted">nothing yet</span>}</>
}

function Pause({ of, path, label, change }: { of: { name: string; paused: boolean }; path: string; label?: string; change: () => void }) {
  const verb = label ?? (of.paused ? 'Resume' : 'Pause')
  return <button aria-label={`${verb} ${plainText(of.name)}`} onClick={async () => {
    const does = verb.toLowerCase()
    const done = await attempt(`${of.name} cannot be ${does}d`, () => post(`${path}/${encodeURIComponent(of.name)}/${does}`, {}))
    if (done) { tell(`${of.name} is ${does}d`); change() }
  }}>{verb}</button>
}

const Counts = ({ of }: { of: { started: number; skipped: number; failed: number } }) => <><td class="num">{count(of.started)}</td><td class="num muted">{of.skipped ? count(of.skipped) : ''}</td><td class={`num${of.failed ? ' bad' : ' muted'}`}>{of.failed ? count(of.failed) : ''}</td></>

const page = <T,>(path: string) => (cursor: string, s: AbortSignal) => get<List<T>>(`${path}${query({ limit: 100, cursor })}`, s)

export function Triggers() {
  const round = Math.floor(now.value / 3000)
  const schedules = usePages('schedules', page<Schedule>('/v1/schedules'), round)
  const incoming = usePages('incoming', page<Incoming>('/v1/hooks/in'), round)
  const outgoing = usePages('outgoing', page<Outgoing>('/v1/hooks/out'), round)
  return <main class="page">
    <div class="bar"><h1>Triggers</h1><span class="muted">what starts runs by itself, and what others are told</span></div>
    <h2>Schedules</h2>
    <Trouble error={schedules.error} />
    {schedules.items?.length === 0 && <Empty><p>Nothing is scheduled.</p><p class="muted"><code>wfd schedule create nightly "30 2 * * *" WORKFLOW</code></p></Empty>}
    {(schedules.items?.length ?? 0) > 0 && <div class="table-wrap"><table class="table"><thead><tr><th>Schedule</th><th>When</th><th>Starts</th><th>Next</th><th class="num">Started</th><th class="num">Skipped</th><th class="num">Failed</th><th class="grow">Last</th><th>State</th><th /></tr></thead>
      <tbody>{schedules.items!.map(t => <tr key={t.name} data-trigger={t.name}><td class="name"><strong>{plainText(t.name)}</strong></td><td class="nowrap"><span class="mono">{plainText(t.spec.cron)}</span><div class="muted">{plainText(t.spec.zone)}</div></td>
        <td class="name"><a href={`/workflows/${encodeURIComponent(t.spec.workflow)}`}>{plainText(t.spec.workflow)}</a>{t.spec.overlap !== 'skip' && <div class="muted">{t.spec.overlap === 'queue' ? t.queue?.length ? `${plural(t.queue.length, 'start')} wait${t.queue.length === 1 ? 's' : ''}` : 'queues' : 'may overlap'}</div>}</td>
        <td class="nowrap">{t.next ? <><time dateTime={t.next}>{moment(t.next)}</time><div class="muted">in {duration(Math.max(0, Date.parse(t.next) - now.value))}</div></> : '–'}</td>
        <Counts of={t} /><td class="grow"><Fires of={t.recent} /></td><td><State of={t} /></td><td class="num"><Pause of={t} path="/v1/schedules" change={schedules.reload} /></td></tr>)}</tbody></table></div>}
    <More of={schedules}>More schedules</More>
    <h2>Webhooks that come in</h2>
    <Trouble error={incoming.error} />
    {incoming.items?.length === 0 && <p class="muted">There is no hook. <code>wfd hook in create NAME --secret SECRET --workflow WORKFLOW</code> makes one.</p>}
    {(incoming.items?.length ?? 0) > 0 && <div class="table-wrap"><table class="table"><thead><tr><th>Hook</th><th>Does</th><th class="num">Done</th><th class="num">Skipped</th><th class="num">Failed</th><th class="num">Not let in</th><th class="grow">Last</th><th>State</th><th /></tr></thead>
      <tbody>{incoming.items!.map(t => <tr key={t.name} data-trigger={t.name}><td class="name"><strong>{plainText(t.name)}</strong><div class="muted mono">{plainText(t.path)}</div></td>
        <td>{t.spec.workflow ? <>starts <a href={`/workflows/${encodeURIComponent(t.spec.workflow)}`}>{plainText(t.spec.workflow)}</a></> : <>signals <span class="mono">{plainText(t.spec.signal ?? '')}</span></>}<div class="muted">{t.spec.form}</div></td>
        <Counts of={t} /><td class={`num${t.denied ? ' bad' : ' muted'}`} title={plainText(t.denied_reason ?? '')}>{t.denied ? count(t.denied) : ''}</td><td class="grow"><Fires of={t.recent} /></td><td><State of={t} /></td><td class="num"><Pause of={t} path="/v1/hooks/in" change={incoming.reload} /></td></tr>)}</tbody></table></div>}
    <More of={incoming}>More hooks</More>
    <h2>Webhooks that go out</h2>
    <Trouble error={outgoing.error} />
    {outgoing.items?.length === 0 && <p class="muted">Nobody is told. <code>wfd hook out create NAME URL --secret SECRET</code> tells somebody.</p>}
    {(outgoing.items?.length ?? 0) > 0 && <div class="table-wrap"><table class="table"><thead><tr><th>Hook</th><th class="grow">To</th><th>Events</th><th class="num">Sent</th><th class="num">Behind</th><th>State</th><th /></tr></thead>
      <tbody>{outgoing.items!.map(t => {
        const state = t.dead ? 'dead' : !t.paused && !t.broken && t.attempts > 0 ? 'failing' : stateOf(t)
        return <tr key={t.name} data-trigger={t.name}><td class="name"><strong>{plainText(t.name)}</strong></td><td class="grow"><div class="mono ellipsis" title={plainText(t.spec.url)}>{plainText(t.spec.url)}</div></td><td>{plainText(t.spec.kinds.join(', '))}{t.spec.workflows && <div class="muted">of {plainText(t.spec.workflows.join(', '))}</div>}</td>
          <td class="num">{count(t.sent)}</td><td class="num muted">{t.behind ? count(t.behind) : ''}</td><td><State of={t} state={state} why={t.attempts > 0 ? `${plural(t.attempts, 'attempt')}: ${t.reason ?? ''}` : undefined} />{t.since && <div class="muted">since <Ago at={t.since} /></div>}</td>
          <td class="num">{t.dead && !t.paused ? <Pause of={t} label="Resume" path="/v1/hooks/out" change={outgoing.reload} /> : <Pause of={t} path="/v1/hooks/out" change={outgoing.reload} />}</td></tr>
      })}</tbody></table></div>}
    <More of={outgoing}>More hooks</More>
  </main>
}
