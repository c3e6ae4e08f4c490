import { stripVTControlCharacters, styleText } from 'node:util'

/** One column of a text table. */
export interface Column {
  readonly title: string
  /** Default left; numbers read better on the right. */
  readonly align?: 'left' | 'right'
  /** Cells are cut to this many characters, with an ellipsis. */
  readonly widthMax?: number
}

/** Formats of util.styleText that our tables use. */
export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'

/**
 * Text in a colour, for a stream that is a terminal and when NO_COLOR does not forbid it; plain text otherwise.
 * Node decides (util.styleText with `validateStream`), so NO_COLOR, FORCE_COLOR and NODE_DISABLE_COLORS hold.
 */
export function paint(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return styleText(style, text, { stream, validateStream: true })
}

/**
 * A table as text, columns two spaces apart, no line of it longer than it must be. Cells may carry colours:
 * their width is what a terminal shows.
 */
export function renderTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => columns.map((column, i) => cut(row[i] ?? '', column.widthMax)))
  const widths = columns.map((column, i) => Math.max(column.title.length, ...cells.map((row) => width(row[i] ?? ''))))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => {
        const padding = ' '.repeat((widths[i] ?? 0) - width(cell))
        return columns[i]?.align === 'right' ? padding + cell : cell + padding
      })
      .join('  ')
      .trimEnd()
  return [columns.map((column) => column.title), ...cells].map(line).join('\n')
}

function width(text: string): number {
  return stripVTControlCharacters(text).length
}

function cut(text: string, widthMax: number | undefined): string {
  if (widthMax === undefined || width(text) <= widthMax) return text
  return `${stripVTControlCharacters(text).slice(0, widthMax - 1)}…`
}
