// What calls of models have cost, what may be spent, and what models cost.
import { useState } from 'preact/hooks'
import { get, query } from './api'
import { BudgetDialog } from './budget'
import { More, RunLink, Trouble, useLoad, usePages } from './parts'
import { pulse } from './pulse'
import { params, set } from './router'
import { count, plainText, plural, usd } from './text'
import type { Budget, List, Spend } from './types'

interface Totals { calls: number; input_tokens: number; cached_tokens: number; output_tokens: number; micro_usd: number; unpriced_tokens?: number }
interface Report { by: string; since?: string; total: Totals; items: (Totals & { name: string })[] }
interface Price { model: string; price: { input: number; cached: number; output: number } }

const groups = { workflow: 'Workflow', agent: 'Agent', model: 'Model', node: 'Node', run: 'Run', day: 'Day' } as const
type Group = keyof typeof groups
const spans: [number, string][] = [[1, 'today'], [7, '7 days'], [30, '30 days'], [0, 'all']]
const shown = 200

// since is the first of so many days that end today, as the log counts them: in UTC.
const since = (days: number) => days ? new Date(Date.now() - (days - 1) * 86_400_000).toISOString().slice(0, 10) : ''

export function Cost() {
  const asked = params.value.get('by') ?? ''
  const by = (asked in groups ? asked : 'workflow') as Group
  const days = Number(params.value.get('days') ?? '30') || 0
  const again = Math.floor(pulse.value / 4)
  const report = useLoad(`cost ${by} ${days}`, s => get<Report>(`/v1/cost${query({ by, since: since(days) })}`, s), again)
  const daily = useLoad(`daily ${days}`, s => get<Report>(`/v1/cost${query({ by: 'day', since: since(days) })}`, s), again)
  const prices = useLoad('prices', s => get<List<Price> & { as_of?: string }>('/v1/prices?limit=500', s))
  const total = report.data?.total
  const tokens = (t: Totals) => t.input_tokens + t.output_tokens
  const items = report.data?.items ?? []
  const weight = (t: Totals) => total && total.micro_usd > 0 ? t.micro_usd : tokens(t)
  const most = Math.max(1, ...items.map(weight))
  return <main class="page">
    <div class="bar"><h1>Cost</h1>{total && <span class="muted">{usd(total.micro_usd)} for {plural(total.calls, 'call')}, {count(tokens(total))} tokens{total.unpriced_tokens ? `; ${count(total.unpriced_tokens)} of them have no price that is known` : ''}</span>}
      <span class="choice right" role="group" aria-label="Since">{spans.map(([n, name]) => <button aria-pressed={days === n} onClick={() => set({ days: String(n) })}>{name}</button>)}</span></div>
    <Trouble error={report.error ?? daily.error} />
    <Days of={daily.data?.items ?? []} />
    <div class="choice" role="group" aria-label="Group by">{Object.entries(groups).map(([k, name]) => <button aria-pressed={by === k} onClick={() => set({ by: k })}>{name}</button>)}</div>
    {report.data && items.length === 0 && <p class="muted">Nothing was charged{days ? ' in this time' : ''}.</p>}
    {items.length > 0 && <div class="table-wrap scroll-y"><table class="table"><thead><tr><th>{groups[by]}</th><th class="num">Calls</th><th class="num">Input</th><th class="num">Of it cached</th><th class="num">Output</th><th class="num">Charged</th><th class="grow" /></tr></thead>
      <tbody>{items.slice(0, shown).map(t => <tr key={t.name}><td><Name by={by} of={t.name} /></td><td class="num">{count(t.calls)}</td><td class="num">{count(t.input_tokens)}</td><td class="num muted">{count(t.cached_tokens)}</td><td class="num">{count(t.output_tokens)}</td><td class="num">{usd(t.micro_usd)}</td><td class="grow"><meter min={0} max={most} value={weight(t)} aria-label={`share of ${t.name || 'what is not known'}`} /></td></tr>)}</tbody></table></div>}
    {items.length > shown && <p class="muted">The {shown} dearest of {count(items.length)}; <code>wfd cost --by {by}</code> lists all.</p>}
    <BudgetTable again={again} />
    <h2>Prices</h2>
    <Trouble error={prices.error} />
    <div class="table-wrap scroll-y"><table class="table"><thead><tr><th>Model</th><th class="num">Input</th><th class="num">From cache</th><th class="num">Output</th></tr></thead>
      <tbody>{(prices.data?.items ?? []).map(p => <tr><td class="mono">{plainText(p.model)}</td><td class="num">{usd(p.price.input)}</td><td class="num">{usd(p.price.cached)}</td><td class="num">{usd(p.price.output)}</td></tr>)}</tbody></table></div>
    <p class="muted">Dollars a million tokens{prices.data?.as_of ? `, as of ${prices.data.as_of}` : ''}.</p>
  </main>
}

function Name({ by, of }: { by: Group; of: string }) {
  if (!of) return <span class="muted">not known</span>
  if (by === 'run') return <RunLink id={of} />
  if (by === 'workflow') return <a href={`/workflows/${encodeURIComponent(of)}`}>{plainText(of)}</a>
  return <span class={by === 'day' ? 'nowrap' : 'mono'}>{plainText(of)}</span>
}

// Days are columns, one a day, the days without a charge among them too.
function Days({ of }: { of: (Totals & { name: string })[] }) {
  if (of.length < 2) return null
  const byDay = new Map(of.map(t => [t.name, t]))
  const first = Date.parse(of[0].name), last = Date.parse(of[of.length - 1].name)
  const all = Array.from({ length: Math.min(366, Math.round((last - first) / 86_400_000) + 1) }, (_, i) => new Date(last - i * 86_400_000).toISOString().slice(0, 10)).reverse()
  const money = of.some(t => t.micro_usd > 0)
  const height = (d: string) => { const t = byDay.get(d); return t ? money ? t.micro_usd : t.input_tokens + t.output_tokens : 0 }
  const most = Math.max(1, ...all.map(height))
  const says = (d: string) => money ? usd(height(d)) : `${count(height(d))} tokens`
  return <figure class="days"><svg viewBox={`0 0 ${all.length * 10} 60`} preserveAspectRatio="none" role="img" aria-label={`What was charged a day, ${all[0]} to ${all[all.length - 1]}, at most ${says(all.reduce((a, b) => height(b) > height(a) ? b : a))}`}>
    {all.map((d, i) => <rect x={i * 10 + 1} width="8" y={60 - 58 * height(d) / most} height={58 * height(d) / most}><title>{`${d}: ${says(d)}`}</title></rect>)}
  </svg><figcaption class="muted"><span>{all[0]}</span><span>{all[all.length - 1]}</span></figcaption></figure>
}

const spent = (s: Spend) => `${usd(s.micro_usd)}, ${count(s.tokens)} tokens`

export function limits(l: { micro_usd: number; tokens: number }): string {
  return [l.micro_usd > 0 && usd(l.micro_usd), l.tokens > 0 && `${count(l.tokens)} tokens`].filter(Boolean).join(' and ') || 'no limit'
}

function BudgetTable({ again }: { again: number }) {
  const budgets = usePages('budgets', (cursor, s) => get<List<Budget>>(`/v1/budgets${query({ limit: 200, cursor })}`, s), again)
  const [open, setOpen] = useState<Budget | null>(null)
  const list = budgets.items ?? []
  const part = (b: Budget) => Math.max(b.limits.micro_usd > 0 ? (b.spent.micro_usd + b.reserved.micro_usd) / b.limits.micro_usd : 0, b.limits.tokens > 0 ? (b.spent.tokens + b.reserved.tokens) / b.limits.tokens : 0)
  return <>
    <div class="bar"><h2>Budgets</h2><button class="right" onClick={() => setOpen({ budget: '', limits: { micro_usd: 0, tokens: 0 }, spent: { micro_usd: 0, tokens: 0 }, reserved: { micro_usd: 0, tokens: 0 } })}>Set a budget</button></div>
    <Trouble error={budgets.error} />
    {budgets.items && list.length === 0 && <p class="muted">No workflow, agent or day has one. A run may have its own.</p>}
    {list.length > 0 && <div class="table-wrap"><table class="table"><thead><tr><th>Budget</th><th>Limit</th><th>Spent</th><th>Set aside</th><th class="grow" /><th /></tr></thead>
      <tbody>{list.map(b => <tr key={b.budget}><td class="mono">{plainText(b.budget)}</td><td>{limits(b.limits)}</td><td>{spent(b.spent)}</td><td class="muted">{b.reserved.tokens || b.reserved.micro_usd ? spent(b.reserved) : ''}</td>
        <td class="grow"><meter min={0} max={1} high={0.9} value={Math.min(1, part(b))} aria-label={`spent of ${b.budget}`} /></td><td class="num"><button onClick={() => setOpen(b)}>Change</button></td></tr>)}</tbody></table></div>}
    <More of={budgets}>More budgets</More>
    {open && <BudgetDialog budget={open} close={() => { setOpen(null); budgets.reload() }} />}
  </>
}
