// What runs were charged for models, and what models cost.
import { get, query } from './api'
import { RunLink, Trouble, useLoad } from './parts'
import { pulse } from './pulse'
import { count, plainText, usd } from './text'
import type { List, Row } from './types'

const looked = 500

interface Price { model: string; price: { input: number; cached: number; output: number } }

export function Cost() {
  const spent = useLoad('spent', s => get<List<Row>>(`/v1/runs${query({ limit: looked })}`, s), Math.floor(pulse.value / 4))
  const prices = useLoad('prices', s => get<List<Price> & { as_of?: string }>('/v1/prices?limit=500', s))
  const runs = (spent.data?.items ?? []).filter(r => (r.spent?.tokens ?? 0) > 0)
  const by = new Map<string, { runs: number; tokens: number; micros: number }>()
  for (const r of runs) {
    const s = by.get(r.workflow) ?? { runs: 0, tokens: 0, micros: 0 }
    by.set(r.workflow, { runs: s.runs + 1, tokens: s.tokens + r.spent!.tokens, micros: s.micros + r.spent!.micro_usd })
  }
  const workflows = [...by].sort((a, b) => b[1].micros - a[1].micros || b[1].tokens - a[1].tokens)
  const weight = (s: { micros: number; tokens: number }) => workflows.some(([, w]) => w.micros > 0) ? s.micros : s.tokens
  const most = Math.max(1, ...workflows.map(([, s]) => weight(s)))
  const top = runs.slice().sort((a, b) => b.spent!.micro_usd - a.spent!.micro_usd || b.spent!.tokens - a.spent!.tokens).slice(0, 10)
  return <main class="page">
    <div class="bar"><h1>Cost</h1><span class="muted">of the newest {looked} runs: {usd(workflows.reduce((s, [, w]) => s + w.micros, 0))}, {count(workflows.reduce((s, [, w]) => s + w.tokens, 0))} tokens</span></div>
    <Trouble error={spent.error} />
    {spent.data && runs.length === 0 && <p class="muted">None of them was charged for a model.</p>}
    {workflows.length > 0 && <div class="table-wrap"><table class="table"><thead><tr><th>Workflow</th><th class="num">Runs</th><th class="num">Tokens</th><th class="num">Charged</th><th class="num">A run</th><th class="grow" /></tr></thead>
      <tbody>{workflows.map(([w, s]) => <tr><td><a href={`/workflows/${encodeURIComponent(w)}`}>{plainText(w)}</a></td><td class="num">{s.runs}</td><td class="num">{count(s.tokens)}</td><td class="num">{usd(s.micros)}</td><td class="num">{usd(Math.round(s.micros / s.runs))}</td><td class="grow"><meter min={0} max={most} value={weight(s)} aria-label={`share of ${w}`} /></td></tr>)}</tbody></table></div>}
    {top.length > 0 && <><h2>Runs that cost most</h2><div class="table-wrap"><table class="table"><tbody>{top.map(r => <tr><td><RunLink id={r.id} /></td><td>{plainText(r.workflow)}</td><td class="num">{count(r.spent!.tokens)} tokens</td><td class="num">{usd(r.spent!.micro_usd)}</td></tr>)}</tbody></table></div></>}
    <h2>Prices</h2>
    <Trouble error={prices.error} />
    <div class="table-wrap scroll-y"><table class="table"><thead><tr><th>Model</th><th class="num">Input</th><th class="num">From cache</th><th class="num">Output</th></tr></thead>
      <tbody>{(prices.data?.items ?? []).map(p => <tr><td class="mono">{plainText(p.model)}</td><td class="num">{usd(p.price.input)}</td><td class="num">{usd(p.price.cached)}</td><td class="num">{usd(p.price.output)}</td></tr>)}</tbody></table></div>
    <p class="muted">Dollars a million tokens{prices.data?.as_of ? `, as of ${prices.data.as_of}` : ''}.</p>
  </main>
}
