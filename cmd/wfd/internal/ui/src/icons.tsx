// Icons as strokes of a 16 by 16 square, so that no font decides what they look like.
const paths = {
  first: 'M4 3v10M13 3.5 7 8l6 4.5z', back: 'M10 3 5 8l5 5', on: 'M6 3l5 5-5 5', last: 'M12 3v10M3 3.5 9 8l-6 4.5z',
  play: 'M5 3l8 5-8 5z', stop: 'M5 3v10M11 3v10', copy: 'M6 6h7v7H6zM10 6V3H3v7h3', done: 'M3 8.5l3.5 3.5L13 4.5', close: 'M4 4l8 8M12 4l-8 8',
  menu: 'M3 4.5h10M3 8h10M3 11.5h10', out: 'M9 3H3v10h6M7 8h6.5M11 5.5 13.5 8 11 10.5', find: 'M7 3a4 4 0 1 1 0 8 4 4 0 0 1 0-8M10 10l3.5 3.5',
  minus: 'M4 8h8', plus: 'M4 8h8M8 4v8', fit: 'M3 6V3h3M10 3h3v3M13 10v3h-3M6 13H3v-3', fold: 'M3 3h10v10H3zM5.5 8h5',
  sun: 'M8 5.2a2.8 2.8 0 1 1 0 5.6 2.8 2.8 0 0 1 0-5.6M8 1.5v1.6M8 12.9v1.6M1.5 8h1.6M12.9 8h1.6M3.4 3.4l1.1 1.1M11.5 11.5l1.1 1.1M12.6 3.4l-1.1 1.1M4.5 11.5l-1.1 1.1',
  moon: 'M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5z', half: 'M8 2.5a5.5 5.5 0 1 1 0 11zM8 2.5a5.5 5.5 0 0 0 0 11',
  help: 'M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2M6.3 6.4A1.75 1.75 0 1 1 8.6 8c-.5.2-.6.6-.6 1M8 11.2v.3', fork: 'M4 3v4c0 2 2 3 4 3v3M12 3v4c0 2-2 3-4 3',
  // kinds of nodes
  agent: 'M8 2l1.4 4.6L14 8l-4.6 1.4L8 14l-1.4-4.6L2 8l4.6-1.4z', http: 'M3 6h9l-2.5-2.5M13 10H4l2.5 2.5', exec: 'M3 4l4 4-4 4M8.5 12H13',
  worker: 'M3 13l6-6M7.5 4.5l4 4 1.5-1.5-4-4z', tool: 'M9.5 3a3.2 3.2 0 0 0 3.6 4.4L6.5 14 3.6 11.1l6.5-6.5', decision: 'M8 2l6 6-6 6-6-6z',
  human: 'M8 2.5a2.6 2.6 0 1 1 0 5.2 2.6 2.6 0 0 1 0-5.2M3 13.5c.6-3 2.5-4.2 5-4.2s4.4 1.2 5 4.2', workflow: 'M3 3h10v10H3zM3 6.5h10M6.5 6.5V13',
  parallel: 'M3 8h3c2 0 2-4.5 4-4.5h3M6 8h7M6 8c2 0 2 4.5 4 4.5h3', converge: 'M3 3.5h3c2 0 2 4.5 4 4.5h3M3 8h7M3 12.5h3c2 0 2-4.5 4-4.5',
  foreach: 'M3 4h10M3 8h10M3 12h6', wait: 'M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11M8 5v3.2l2 1.3', chat: 'M3 3.5h10v7H8L5 13v-2.5H3z', plan: 'M3 4h1M6.5 4H13M3 8h1M6.5 8H13M3 12h1M6.5 12H13',
  end: 'M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11M8 6a2 2 0 1 1 0 4 2 2 0 0 1 0-4', other: 'M3.5 3.5h9v9h-9z',
}
export type IconName = keyof typeof paths

export const iconPath = (kind: string): string => paths[(kind in paths ? kind : 'other') as IconName]

export function Icon({ of }: { of: IconName }) {
  return <svg class="ic" width="16" height="16" viewBox="0 0 16 16" aria-hidden="true"><path d={paths[of]} /></svg>
}
