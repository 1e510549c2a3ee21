// Which of the runs somebody asked for: words, or words behind `--only`, that stand in their names. None is all.

const words = process.argv
  .slice(2)
  .filter((word) => word !== '--only')
  .map((word) => word.toLowerCase());

export const allWanted = words.length === 0;

export function isWanted(name: string): boolean {
  return allWanted || words.some((word) => name.toLowerCase().includes(word));
}
