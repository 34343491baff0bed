// The page: what is on top of every screen, and which screen it is.
import { signal } from '@preact/signals'
import { render } from 'preact'
import { useEffect } from 'preact/hooks'
import { reachable } from './api'
import { Icon } from './icons'
import { Empty, told } from './parts'
import { path } from './router'
import { RunPage } from './run'
import { Runs } from './runs'

type Theme = '' | 'light' | 'dark'
const theme = signal<Theme>((localStorage.getItem('wfd theme') ?? '') as Theme)
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

const links: [string, string][] = [['/runs', 'Runs']]

function Top() {
  const at = path.value === '/' ? '/runs' : path.value
  return <header class="top">
    <a class="brand" href="/runs" aria-label="wfd: runs"><img src="/ui/icon.svg" alt="" width="20" height="20" />wfd</a>
    <nav aria-label="Screens">{links.map(([to, name]) => <a href={to} aria-current={at === to || at.startsWith(to + '/') ? 'page' : undefined}>{name}</a>)}</nav>
    <span class={`reach${reachable.value ? '' : ' off'}`} role="status">{reachable.value ? '' : 'The daemon does not answer. The page goes on once it is back.'}</span>
    <Toggle />
  </header>
}

function Screen() {
  const p = path.value
  const run = p.match(/^\/runs\/([^/]+)$/)
  if (p === '/' || p === '/runs') return <Runs />
  if (run) return <RunPage key={run[1]} id={decodeURIComponent(run[1])} />
  return <main class="page"><Empty><p>There is nothing here.</p><p><a href="/runs">Runs</a></p></Empty></main>
}

function App() {
  const p = path.value
  useEffect(() => { document.title = p === '/' || p === '/runs' ? 'Runs · wfd' : `${decodeURIComponent(p.split('/').at(-1) ?? '')} · wfd` }, [p])
  return <>
    <a class="skip" href="#main">Skip to the content</a>
    <Top />
    <div id="main"><Screen /></div>
    <div class="told" role="status" aria-live="polite">{told.value.map(t => <div key={t.id} class={t.bad ? 'bad' : ''}>{t.text}</div>)}</div>
  </>
}

render(<App />, document.getElementById('app')!)
