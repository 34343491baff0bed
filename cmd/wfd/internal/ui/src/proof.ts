// Checks here, with the browser's own cryptography, that an event is in the log: by
// docs/audit.md, "Verifying offline". Nothing that the daemon says about it is believed.

export interface Check { what: string; ok: boolean | null; detail: string } // null: this browser cannot tell

const utf8 = new TextEncoder()
const unbase64 = (s: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(s), c => c.charCodeAt(0))
const base64 = (b: Uint8Array): string => btoa(String.fromCharCode(...b))
const join = (...parts: (Uint8Array | number[])[]): Uint8Array<ArrayBuffer> => {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
  let at = 0
  for (const p of parts) { out.set(p, at); at += p.length }
  return out
}
const sha256 = async (b: Uint8Array<ArrayBuffer>) => new Uint8Array(await crypto.subtle.digest('SHA-256', b))
const u64 = (n: bigint) => { const b = new Uint8Array(8); new DataView(b.buffer).setBigUint64(0, BigInt.asUintN(64, n)); return b }
const u16 = (n: number) => [n >> 8 & 255, n & 255]

// runBytes are the 16 bytes of a run's ID: a ULID, or the name of a system stream.
export function runBytes(id: string): Uint8Array {
  if (id.startsWith('system:')) {
    const b = new Uint8Array(16)
    b.set(utf8.encode(id.slice(7)), 6)
    return b
  }
  const digits = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
  let n = 0n
  for (const c of id) {
    const d = digits.indexOf(c)
    if (d < 0 || id.length !== 26) throw new Error(`${id} is not the ID of a run`)
    n = n << 5n | BigInt(d)
  }
  return join(u64(n >> 64n), u64(n))
}

// nanos reads RFC 3339 to the nanosecond, which a Date does not have.
export function nanos(time: string): bigint {
  const m = time.match(/^(.*:\d\d)(?:\.(\d{1,9}))?Z$/)
  if (!m) throw new Error(`${time} is not a time in UTC`)
  return BigInt(Date.parse(m[1] + 'Z')) * 1_000_000n + BigInt((m[2] ?? '').padEnd(9, '0'))
}

export async function leafOf(e: any): Promise<Uint8Array<ArrayBuffer>> {
  const sum = e.payload_hash ? unbase64(e.payload_hash) : await sha256(join(unbase64(e.salt ?? ''), unbase64(e.payload ?? '')))
  const actor = utf8.encode(e.actor)
  return sha256(join([0], runBytes(e.run), u64(BigInt(e.version)), u16(e.kind), u64(nanos(e.time)), u16(actor.length), actor, sum))
}

// rootOf goes from a leaf up to the root, by RFC 9162, section 2.1.3.2.
export async function rootOf(leaf: Uint8Array<ArrayBuffer>, seq: number, size: number, path: string[]): Promise<Uint8Array | null> {
  let fn = BigInt(seq) - 1n, sn = BigInt(size) - 1n
  if (fn > sn || fn < 0n) return null
  let h = leaf
  for (const p of path) {
    if (sn === 0n) return null
    if (fn & 1n || fn === sn) {
      h = await sha256(join([1], unbase64(p), h))
      while (!(fn & 1n) && fn !== 0n) { fn >>= 1n; sn >>= 1n }
    } else {
      h = await sha256(join([1], h, unbase64(p)))
    }
    fn >>= 1n
    sn >>= 1n
  }
  return sn === 0n ? h : null
}

// check verifies a proof with the public key that the reader trusts.
export async function check(doc: any, key: string): Promise<Check[]> {
  const checks: Check[] = []
  if (!crypto.subtle) return [{ what: 'Hashes', ok: null, detail: 'this browser offers its cryptography over https and on this machine only' }]
  const e = doc.event
  const note: string = doc.checkpoint
  const cut = note.indexOf('\n\n')
  const text = note.slice(0, cut + 1)
  const [origin, size, root] = text.split('\n')
  const leaf = await leafOf(e)
  checks.push({ what: 'Leaf', ok: true, detail: `${e.payload_hash ? 'of the hash of a concealed payload' : `of salt and ${unbase64(e.payload ?? '').length} bytes of payload`}: ${base64(leaf)}` })
  const got = await rootOf(leaf, e.seq, Number(size), doc.path ?? [])
  const same = got !== null && base64(got) === root
  checks.push({ what: 'Path', ok: same, detail: same ? `${(doc.path ?? []).length} hashes lead to the root over ${size} events: ${root}` : `they lead to ${got ? base64(got) : 'nowhere'}, and the checkpoint has ${root}` })
  const parts = key.trim().split('+')
  const raw = unbase64(parts.slice(2).join('+'))
  const line = note.slice(cut + 2).split('\n').find(l => l.startsWith(`— ${parts[0]} `) && base64(unbase64(l.split(' ')[2]).slice(0, 4)) === base64(Uint8Array.from((parts[1].match(/../g) ?? []).map(x => parseInt(x, 16)))))
  if (origin !== parts[0]) checks.push({ what: 'Origin', ok: false, detail: `the checkpoint is of ${origin}, the key of ${parts[0]}` })
  if (raw[0] !== 1 || !line) {
    checks.push({ what: 'Signature', ok: false, detail: 'the checkpoint is not signed by this key' })
    return checks
  }
  try {
    const k = await crypto.subtle.importKey('raw', raw.slice(1), { name: 'Ed25519' }, false, ['verify'])
    const ok = await crypto.subtle.verify({ name: 'Ed25519' }, k, unbase64(line.split(' ')[2]).slice(4), utf8.encode(text))
    checks.push({ what: 'Signature', ok, detail: ok ? `Ed25519, by ${parts[0]}+${parts[1]}` : 'it is not of this text and key' })
  } catch {
    checks.push({ what: 'Signature', ok: null, detail: 'this browser has no Ed25519: wfd audit verify checks it' })
  }
  return checks
}
