/** `ioasis completion SHELL`: a script made from the command tree itself. */
import type { Command } from "commander";
import type { CommonOptions } from "../options.js";
import { type ExitCode, type Output, UsageError } from "../output.js";
import { RULE_CHOICES } from "../rules.js";

type CommandFacts = { readonly name: string; readonly text: string; readonly options: string[] };

export async function run(
  out: Output,
  args: readonly string[],
  _options: CommonOptions,
  program: Command,
): Promise<ExitCode> {
  const script = SCRIPTS[args[0] ?? ""];
  if (script === undefined || args.length !== 1) {
    throw new UsageError(`completion takes one of ${Object.keys(SCRIPTS).join(", ")}`);
  }
  out.line(script(commandFacts(program)));
  return 0;
}

function commandFacts(program: Command): CommandFacts[] {
  return program.commands.map((command: Command) => ({
    name: command.name(),
    text: command.description(),
    options: [...command.options.map((option) => option.long ?? ""), "--help"],
  }));
}

const DEVICE_COMMANDS = ["devices", "explain", "pasid", "p2p"];
const DEVICES = "$(ls /sys/bus/pci/devices 2>/dev/null)";

const SCRIPTS: Readonly<Record<string, (commands: readonly CommandFacts[]) => string>> = {
  bash: (commands) => `# ioasis completion for bash: eval "$(ioasis completion bash)"
_ioasis() {
  # Bash splits words at colons; device addresses have two of them.
  local cur=\${COMP_LINE:0:COMP_POINT}; cur=\${cur##* }
  local prev=\${COMP_WORDS[COMP_CWORD-1]} cmd=\${COMP_WORDS[1]}
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map((c) => c.name).join(" ")}" -- "$cur")); return
  fi
  case $prev in
    --rules) COMPREPLY=($(compgen -W "${RULE_CHOICES.join(" ")}" -- "$cur")); return;;
    --from) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return;;
    completion) COMPREPLY=($(compgen -W "bash zsh fish" -- "$cur")); return;;
  esac
  case $cmd in
${commands
  .map((c) => {
    const devices = DEVICE_COMMANDS.includes(c.name) ? ` ${DEVICES}` : "";
    const words = `${c.options.join(" ")}${devices}`;
    return `    ${c.name}) COMPREPLY=($(compgen -W "${words}" -- "$cur"));;`;
  })
  .join("\n")}
  esac
  [[ $COMP_WORDBREAKS == *:* ]] || return 0
  local before=\${cur%"\${cur##*:}"}
  COMPREPLY=("\${COMPREPLY[@]#"$before"}")
}
complete -F _ioasis ioasis`,
  zsh: (commands) => `#compdef ioasis
# ioasis completion for zsh: source <(ioasis completion zsh)
_ioasis() {
  local -a commands; commands=(
${commands.map((c) => `    '${c.name}:${c.text.replaceAll("'", "’")}'`).join("\n")}
  )
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  case $words[CURRENT-1] in
    --rules) compadd ${RULE_CHOICES.join(" ")}; return;;
    --from) _files; return;;
    completion) compadd bash zsh fish; return;;
  esac
  case $words[2] in
${commands
  .map((c) => {
    const devices = DEVICE_COMMANDS.includes(c.name) ? ` ${DEVICES}` : "";
    return `    ${c.name}) compadd -- ${c.options.join(" ")}${devices};;`;
  })
  .join("\n")}
  esac
  local before=\${cur%"\${cur##*:}"}
  COMPREPLY=("\${COMPREPLY[@]#"$before"}")
}
compdef _ioasis ioasis`,
  fish: (commands) => `# ioasis completion for fish: ioasis completion fish | source
complete -c ioasis -f
${commands
  .map((c) => {
    const seen = `__fish_seen_subcommand_from ${c.name}`;
    const lines = [
      `complete -c ioasis -n __fish_use_subcommand -a ${c.name} -d ` +
        `'${c.text.replaceAll("'", "’")}'`,
      ...c.options.map((o) => optionLine(seen, o)),
    ];
    if (DEVICE_COMMANDS.includes(c.name)) {
      lines.push(`complete -c ioasis -n '${seen}' -a '(ls /sys/bus/pci/devices 2>/dev/null)'`);
    }
    if (c.name === "completion") lines.push(`complete -c ioasis -n '${seen}' -a 'bash zsh fish'`);
    return lines.join("\n");
  })
  .join("\n")}`,
};

function optionLine(seen: string, option: string): string {
  const name = option.replace("--", "");
  const values =
    name === "rules" ? ` -x -a '${RULE_CHOICES.join(" ")}'` : name === "from" ? " -r -F" : "";
  return `complete -c ioasis -n '${seen}' -l ${name}${values}`;
}
