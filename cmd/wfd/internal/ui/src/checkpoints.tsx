// The checkpoints of a run: places that it can go back to.
import { useState } from 'preact/hooks'
import { get, post } from './api'
import { Ago, Dialog, tell, Trouble, useLoad } from './parts'
import { pulse } from './pulse'
import type { RunModel } from './runmodel'
import { plainText } from './text'
import type { List } from './types'

interface Checkpoint { at: number; seq: number; time: string; node?: string; visit?: number; name?: string; pinned?: boolean; current?: boolean }

export function CheckpointDialog({ m, close }: { m: RunModel; close: () => void }) {
  const id = m.id
  const list = useLoad(`checkpoints ${id}`, s => get<List<Checkpoint>>(`/v1/runs/${id}/checkpoints?keep=100`, s), m.run.value?.version)
  const [name, setName] = useState('')
  const [pause, setPause] = useState(false)
  const [asked, setAsked] = useState(0) // the version that is to be gone back to, once it is confirmed
  const [error, setError] = useState<unknown>(null)
  const [busy, setBusy] = useState(false)
  const act = async (what: string, path: string, body: unknown, after?: () => void) => {
    setBusy(true)
    setError(null)
    try {
      await post(`/v1/runs/${id}/${path}`, body)
      tell(what)
      pulse.value++
      list.reload()
      after?.()
    } catch (e) { setError(e) }
    setBusy(false)
  }
  const mark = (c: Checkpoint, change: Partial<Checkpoint>) => void act(`v${c.at} is kept`, 'checkpoint', { at: `v${c.at}`, name: c.name, pinned: c.pinned, ...change })
  return <Dialog title="Checkpoints" close={close} wide><div class="dialog-body">
    <form class="row" onSubmit={e => { e.preventDefault(); void act(`${name} is where the run stands`, 'checkpoint', { name, pinned: true }, () => setName('')) }}>
      <div class="field grow"><label for="checkpoint-name">Name the place where the run stands</label><input id="checkpoint-name" value={name} maxLength={256} onInput={e => setName((e.target as HTMLInputElement).value)} /></div>
      <button disabled={busy || !name}>Keep it</button>
    </form>
    <Trouble error={error ?? list.error} />
    {list.data?.items.length === 0 && <p class="muted">No node has completed yet, and nobody has named a place.</p>}
    {(list.data?.items.length ?? 0) > 0 && <div class="table-wrap scroll-y"><table class="table"><thead><tr><th class="num">Version</th><th>Name</th><th>After</th><th>When</th><th /><th /></tr></thead>
      <tbody>{list.data!.items.map(c => <tr key={c.at} aria-current={c.current ? 'true' : undefined}>
        <td class="num"><button class="link mono" title="Look at the run there" onClick={() => { m.seek(m.film.indexOf(c.seq), false); close() }}>v{c.at}</button></td>
        <td>{c.name ? <strong>{plainText(c.name)}</strong> : <span class="muted">{c.current ? 'the newest' : ''}</span>} {c.pinned && <span class="tag">pinned</span>}</td><td class="mono">{c.node && plainText(`${c.node}${(c.visit ?? 1) > 1 ? `#${c.visit}` : ''}`)}</td><td class="nowrap"><Ago at={c.time} /></td>
        <td>{!c.pinned && <button disabled={busy} title="Keep it, whatever is pruned" onClick={() => mark(c, { pinned: true })}>Pin</button>}</td>
        <td class="num">{asked === c.at
          ? <button class="danger" disabled={busy} onClick={() => void act(`the run goes on from v${c.at}`, 'restore', { to: `v${c.at}`, pause }, close)}>Yes, go back</button>
          : <button disabled={busy} onClick={() => setAsked(c.at)}>Restore</button>}</td>
      </tr>)}</tbody></table></div>}
    <p class="muted">A restore lets this run go on from there, in place; what came after stays in its history. A fork leaves the run as it is.</p>
    <label class="check"><input type="checkbox" checked={pause} onChange={e => setPause((e.target as HTMLInputElement).checked)} /> stop there, to be looked at first</label>
  </div></Dialog>
}
