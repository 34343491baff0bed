// The page: what is on top of every screen, and which screen it is.
import { signal } from '@preact/signals'
import { render } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { Agents } from './agents'
import { choose, get, locked, logout, namespace, post, Problem, reachable } from './api'
import { Audit } from './audit'
import { Cost } from './cost'
import { DevBar } from './dev'
import { DiffPage } from './diff'
import { Icon } from './icons'
import { Inbox } from './inbox'
import { attempt, Dialog, Empty, told, Trouble, useLoad } from './parts'
import { pulse, watch } from './pulse'
import { decoded, go, path } from './router'
import { RunPage } from './run'
import { Runs } from './runs'
import { plainText } from './text'
import { Triggers } from './triggers'
import type { List, Question, Whoami } from './types'
import { WorkflowPage, Workflows } from './workflows'

type Theme = '' | 'light' | 'dark'
const stored = () => { try { return (localStorage.getItem('wfd theme') ?? '') as Theme } catch { return '' } }
const theme = signal<Theme>(stored())
const helping = signal(false)

function apply() {
  if (theme.value) document.documentElement.dataset.theme = theme.value
  else delete document.documentElement.dataset.theme
}
apply()

function Toggle() {
  const next: Theme = theme.value === '' ? 'dark' : theme.value === 'dark' ? 'light' : ''
  const name = { '': 'as the system', dark: 'dark', light: 'light' }
  return <button class="icon" aria-label={`Theme: ${name[theme.value]}; change to ${name[next]}`} title={`Theme: ${name[theme.value]}`} onClick={() => {
    theme.value = next
    try { localStorage.setItem('wfd theme', next) } catch { /* for this visit, then */ }
    apply()
  }}><Icon of={theme.value === 'dark' ? 'moon' : theme.value === 'light' ? 'sun' : 'half'} /></button>
}

const links: [string, string, string][] = [['/runs', 'Runs', 'r'], ['/inbox', 'Inbox', 'i'], ['/workflows', 'Workflows', 'w'], ['/triggers', 'Triggers', 't'], ['/agents', 'Agents', 'a'], ['/cost', 'Cost', 'c'], ['/audit', 'Audit', 'u'], ['/diff', 'Compare', 'd']]

// Who shows what the page is about, and lets whoever came in with a token out again. A
// token that is kept to one namespace has no choice.
function Who() {
  const me = useLoad('whoami', s => get<Whoami>('/v1/whoami', s).catch(e => {
    if (e instanceof Problem && e.status === 403 && namespace.value) { choose(''); location.reload() } // chosen with another token
    throw e
  }), pulse.value)
  const d = me.data
  if (!d) return null
  const all = [...new Set(['default', d.namespace, ...d.namespaces])].sort()
  return <>
    {d.namespaces.length === 0 && d.namespace !== 'default' && <span class="muted" title="The namespace of the token">{d.namespace}</span>}
    {d.namespaces.length > 0 && all.length > 1 && <select aria-label="Namespace" value={d.namespace} onChange={e => { choose((e.target as HTMLSelectElement).value); location.assign('/runs') }}>{all.map(n => <option>{n}</option>)}</select>}
    {/^(token:|jwt:|api:token$)/.test(d.actor) && <button class="icon" aria-label={`Log out ${plainText(d.actor)}`} title={`Log out: ${plainText(d.actor)}`} onClick={() => void attempt('log out', async () => { await logout(); location.assign('/runs') })}><Icon of="out" /></button>}
  </>
}

const menu = signal(false) // on a narrow page, the screens are behind a button

function Top() {
  const at = path.value === '/' ? '/runs' : path.value
  const waiting = useLoad('waiting', s => get<List<Question>>('/v1/inbox?limit=100', s), pulse.value)
  const n = waiting.data?.items.length ?? 0
  const badge = n > 0 && <span class="num-badge" title={`${n} questions wait`}>{n}{waiting.data?.next_cursor ? '+' : ''}</span>
  useEffect(() => { menu.value = false }, [at])
  return <header class={`top${menu.value ? ' open' : ''}`}>
    <a class="brand" href="/runs" aria-label="wfd: runs"><img src="/ui/icon.svg" alt="" width="20" height="20" /><span>wfd</span></a>
    <button class="menu" aria-expanded={menu.value} aria-controls="screens" onClick={() => { menu.value = !menu.value }}><Icon of="menu" />{links.find(([to]) => at.startsWith(to))?.[1] ?? 'Screens'}{badge}</button>
    <nav id="screens" aria-label="Screens">{links.map(([to, name]) => <a href={to} aria-current={at === to || at.startsWith(to + '/') ? 'page' : undefined}>{name}{to === '/inbox' && badge}</a>)}</nav>
    <span class={`reach${reachable.value ? '' : ' off'}`} role="status">{reachable.value ? '' : 'The daemon does not answer. The page goes on once it is back.'}</span>
    <Who />
    <button class="icon" aria-label="Keys" title="Keys (?)" onClick={() => { helping.value = true }}><Icon of="help" /></button>
    <Toggle />
  </header>
}

function Help() {
  const rows: [string, string][] = [
    ['← →', 'one event back, on'], ['shift ← →', 'to the visit before, the next one'], ['Home End', 'first event, last event'], ['space', 'play the run'], ['l', 'go with the run'], ['Escape', 'close a node'],
    ['j k', 'down, up a list'], ['Enter', 'open'], ['/', 'search'], ...links.map(([, name, key]) => [`g ${key}`, name] as [string, string]), ['?', 'this'],
  ]
  return <Dialog title="Keys" close={() => { helping.value = false }}><div class="dialog-body"><dl class="facts keys">{rows.map(([k, what]) => <><dt><kbd>{k}</kbd></dt><dd>{what}</dd></>)}</dl></div></Dialog>
}

// Login asks for the daemon's token, and gets a cookie for it that no script can read.
function Login() {
  const [token, setToken] = useState('')
  const [error, setError] = useState<unknown>(null)
  return <main class="page"><form class="card login" onSubmit={async e => {
    e.preventDefault()
    try {
      await post('/v1/session', { token })
      location.reload()
    } catch (err) { setError(err instanceof Problem && err.status === 401 ? new Problem(401, { detail: 'That is not the token.' }) : err) }
  }}>
    <h1>This daemon asks for a token</h1>
    <div class="field"><label for="token">Token</label><input id="token" type="password" autocomplete="current-password" value={token} onInput={e => setToken((e.target as HTMLInputElement).value)} /></div>
    <Trouble error={error} />
    <div class="dialog-foot"><button class="primary" disabled={!token}>Open</button></div>
    <p class="muted">It is one of <code>wfd token create</code>, one of your identity provider, or what the daemon was started with (<code>--token</code>).</p>
  </form></main>
}

function Screen() {
  const p = path.value
  const one = (prefix: string) => p.startsWith(prefix) && p.length > prefix.length && !p.slice(prefix.length).includes('/') ? decoded(p.slice(prefix.length)) : ''
  if (locked.value) return <Login />
  if (p === '/' || p === '/runs') return <Runs />
  if (one('/runs/')) return <RunPage key={p} id={one('/runs/')} />
  if (p === '/workflows') return <Workflows />
  if (one('/workflows/')) return <WorkflowPage key={p} name={one('/workflows/')} />
  if (p === '/inbox') return <Inbox />
  if (p === '/triggers') return <Triggers />
  if (p === '/agents') return <Agents />
  if (p === '/cost') return <Cost />
  if (p === '/audit') return <Audit />
  if (p === '/diff') return <DiffPage />
  return <main class="page"><Empty><p>There is nothing here.</p><p><a href="/runs">Runs</a></p></Empty></main>
}

function App() {
  const p = path.value
  useEffect(watch, [])
  useEffect(() => { document.title = `${p === '/' ? 'runs' : plainText(decoded(p.slice(1).split('/').reverse().join(' · ')))} · wfd` }, [p])
  useEffect(() => {
    let g = 0
    const press = (e: KeyboardEvent) => {
      if (e.ctrlKey || e.metaKey || e.altKey || (e.target as HTMLElement).closest('input:not([type=range]),textarea,select,dialog')) return
      if (e.key === '?') { helping.value = true; e.preventDefault() }
      const to = links.find(l => l[2] === e.key)
      if (to && e.timeStamp - g < 1000) { go(to[0]); e.preventDefault(); e.stopImmediatePropagation() }
      g = e.key === 'g' ? e.timeStamp : 0
    }
    addEventListener('keydown', press, true)
    return () => removeEventListener('keydown', press, true)
  }, [])
  return <>
    <a class="skip" href="#main">Skip to the content</a>
    <Top />
    <DevBar />
    <div id="main"><Screen /></div>
    {helping.value && <Help />}
    <div class="told" role="status" aria-live="polite">{told.value.map(t => <div key={t.id} class={t.bad ? 'bad' : ''}>{plainText(t.text)}</div>)}</div>
  </>
}

render(<App />, document.getElementById('app')!)
