// The state of a run at one of its events. What the event changed is marked.
import { Value } from './parts'
import type { RunModel } from './runmodel'
import { plainText, pretty } from './text'

export function StateView({ m }: { m: RunModel }) {
  m.step.value
  const { film } = m
  const f = film.current
  const runs = [...film.shots].filter(([, s]) => s.version > 0)
  const empty = runs.every(([, s]) => s.state.size === 0)
  return <div class="state">
    {runs.map(([id, s]) => {
      const mine = f?.event.run === id ? f.changes.state ?? {} : {}
      const keys = [...new Set([...s.state.keys(), ...Object.keys(mine)])].sort()
      if (keys.length === 0) return null
      const parent = m.parents.get(id)
      return <section key={id} data-run={id}>
        {id !== m.id && <h4>{parent?.node ?? ''} <a class="mono" href={`/runs/${id}`}>{id.slice(-8)}</a></h4>}
        {keys.map(k => {
          const change = mine[k]
          return <div key={k} class={`key${change ? ' changed' : ''}`} data-key={k}>
            <div class="key-name mono">{plainText(k)}{change && <span class="tag accent">{change.from === undefined ? 'new' : change.to === undefined ? 'gone' : 'changed'}</span>}</div>
            {change && change.from !== undefined && <div class="was" title="before"><s>{plainText(brief(change.from))}</s></div>}
            {s.state.has(k) && <Value of={s.state.get(k)} label={`state.${k}`} />}
          </div>
        })}
      </section>
    })}
    {empty && <p class="muted pad">The run has no state here.</p>}
  </div>
}

function brief(v: unknown): string {
  const s = pretty(v)
  return s.length > 120 ? s.slice(0, 120) + '…' : s
}
