// A paused run goes on: with other state and other breakpoints, if somebody wants so.
import { useState } from 'preact/hooks'
import { post } from './api'
import { JSONField } from './form'
import { Dialog, tell, Trouble } from './parts'
import { pulse } from './pulse'
import type { RunModel } from './runmodel'

// changedOf is what of edits is another value than before.
export function changedOf(edits: Record<string, unknown>, state: Map<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(edits).filter(([k, v]) => v !== undefined && JSON.stringify(v) !== JSON.stringify(state.get(k))))
}

// StateEdit edits keys of a state, and adds some.
export function StateEdit({ id, state, edits, change }: { id: string; state: Map<string, unknown>; edits: Record<string, unknown>; change: (e: Record<string, unknown>) => void }) {
  const [key, setKey] = useState('')
  const keys = [...new Set([...state.keys(), ...Object.keys(edits)])].sort()
  return <>
    {keys.map(k => <JSONField key={k} id={`${id}-${k}`} name={k} rows={1} value={k in edits ? edits[k] : state.get(k)} change={v => change({ ...edits, [k]: v })} />)}
    <div class="add-key"><input aria-label="Another key" placeholder="another key" value={key} onInput={e => setKey((e.target as HTMLInputElement).value)} /><button type="button" disabled={!key || keys.includes(key)} onClick={() => { change({ ...edits, [key]: null }); setKey('') }}>Add</button></div>
  </>
}

export function ResumeDialog({ m, close }: { m: RunModel; close: () => void }) {
  const run = m.run.value!
  const [state] = useState(() => new Map(m.film.shot(m.id).state))
  const [edits, setEdits] = useState<Record<string, unknown>>({})
  const before = (run.breakpoints ?? []).join('\n')
  const [places, setPlaces] = useState(before)
  const [reason, setReason] = useState('')
  const [error, setError] = useState<unknown>(null)
  const [busy, setBusy] = useState(false)
  const changed = changedOf(edits, state)
  const send = async () => {
    setBusy(true)
    try {
      await post(`/v1/runs/${m.id}/resume`, {
        ...(Object.keys(changed).length ? { set: changed } : {}),
        ...(places !== before ? { breakpoints: places.split('\n').map(p => p.trim()).filter(Boolean) } : {}),
        ...(reason ? { reason } : {}),
      })
      tell('the run goes on')
      pulse.value++
      close()
    } catch (e) { setError(e); setBusy(false) }
  }
  return <Dialog title="Let the run go on" close={close} wide>
    <form class="dialog-body" onSubmit={e => { e.preventDefault(); void send() }}>
      <details open={state.size > 0 && state.size <= 6}><summary>State as it goes on{Object.keys(changed).length > 0 && `, ${Object.keys(changed).length} changed`}</summary><StateEdit id="resume" state={state} edits={edits} change={setEdits} /></details>
      <div class="field"><label for="resume-breakpoints">Breakpoints <span class="muted">one a line: <code>node=review</code>, <code>{'edge=a->b'}</code>, <code>cost=0.10</code></span></label><textarea id="resume-breakpoints" rows={3} spellcheck={false} value={places} onInput={e => setPlaces((e.target as HTMLTextAreaElement).value)} /></div>
      <div class="field"><label for="resume-reason">Reason <span class="muted">for the history</span></label><input id="resume-reason" value={reason} maxLength={4096} onInput={e => setReason((e.target as HTMLInputElement).value)} /></div>
      <Trouble error={error} />
      <div class="dialog-foot"><button type="button" onClick={close}>Not now</button><button class="primary" disabled={busy}>Go on</button></div>
    </form>
  </Dialog>
}
