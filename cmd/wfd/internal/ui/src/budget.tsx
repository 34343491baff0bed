// A budget gets other limits: what was paused for it goes on.
import { useState } from 'preact/hooks'
import { post } from './api'
import { Dialog, tell, Trouble } from './parts'
import { pulse } from './pulse'
import { count, plainText, usd } from './text'
import type { Budget } from './types'

// BudgetDialog changes a budget; one without a name asks which. run is the ID of a run
// whose own budget it is.
export function BudgetDialog({ budget: b, run, close }: { budget: Budget; run?: string; close: () => void }) {
  const [name, setName] = useState(b.budget)
  const [dollars, setDollars] = useState(b.limits.micro_usd ? String(b.limits.micro_usd / 1e6) : '')
  const [tokens, setTokens] = useState(b.limits.tokens ? String(b.limits.tokens) : '')
  const [reason, setReason] = useState('')
  const [error, setError] = useState<unknown>(null)
  const [busy, setBusy] = useState(false)
  // The amount goes as the text that was typed: a number would pass through binary.
  const body = () => ({
    ...(dollars !== '' || b.limits.micro_usd ? { usd: dollars || '0' } : {}),
    ...(tokens !== '' || b.limits.tokens ? { tokens: Number(tokens || 0) } : {}),
    ...(reason ? { reason } : {}),
  })
  const send = async () => {
    setBusy(true)
    try {
      await post(run ? `/v1/runs/${run}/budget` : `/v1/budgets/${encodeURIComponent(name)}`, body())
      tell(`the budget ${run ? 'of the run' : name} is changed`)
      pulse.value++
      close()
    } catch (e) { setError(e); setBusy(false) }
  }
  return <Dialog title={b.budget ? `Budget ${plainText(b.budget)}` : 'Set a budget'} close={close}>
    <form class="dialog-body" onSubmit={e => { e.preventDefault(); void send() }}>
      {!b.budget && <div class="field"><label for="budget-name">Of what</label><input id="budget-name" value={name} placeholder="day, workflow:NAME or agent:NAME" onInput={e => setName((e.target as HTMLInputElement).value)} /></div>}
      {b.budget && <p class="muted">Spent: {usd(b.spent.micro_usd)}, {count(b.spent.tokens)} tokens{b.reserved.tokens || b.reserved.micro_usd ? `; set aside for calls under way: ${usd(b.reserved.micro_usd)}, ${count(b.reserved.tokens)} tokens` : ''}.</p>}
      <div class="row">
        <div class="field"><label for="budget-usd">US dollars</label><input id="budget-usd" inputMode="decimal" pattern="[0-9]*[.]?[0-9]{0,6}" title="dollars, at most six decimals" value={dollars} placeholder="no limit" onInput={e => setDollars((e.target as HTMLInputElement).value)} /></div>
        <div class="field"><label for="budget-tokens">Tokens</label><input id="budget-tokens" inputMode="numeric" pattern="[0-9]*" title="a whole number" value={tokens} placeholder="no limit" onInput={e => setTokens((e.target as HTMLInputElement).value)} /></div>
      </div>
      <div class="field"><label for="budget-reason">Reason <span class="muted">for the history</span></label><input id="budget-reason" value={reason} maxLength={4096} onInput={e => setReason((e.target as HTMLInputElement).value)} /></div>
      <Trouble error={error} />
      <div class="dialog-foot"><button type="button" onClick={close}>Not now</button><button class="primary" disabled={busy || !(b.budget || name) || dollars === '' && tokens === '' && !b.limits.micro_usd && !b.limits.tokens}>Set</button></div>
    </form>
  </Dialog>
}
