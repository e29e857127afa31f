/** What a hostile endpoint sends: anything, more often what may lead somewhere. */
import { GUEST_TABLE, GUEST_TABLE_LAST, type HostileGuest } from "./hostile-guest.js";
import { type HostileNode, ridOfNode } from "./hostile-host.js";
import { Access, type HostileRequest, Type } from "./hostile-oracle.js";
import { type HostileWorld, MEMORY_FIRST, MEMORY_PAGES, PASIDS } from "./hostile-world.js";
import type { Random } from "./random.js";

export class HostileChooser {
  readonly #world: HostileWorld;
  readonly #random: Random;
  /** Of every function, and of every bridge for what is behind it. */
  readonly #rids: readonly number[];

  constructor(world: HostileWorld, random: Random) {
    this.#world = world;
    this.#random = random;
    const { functions } = world.host;
    const aliases = functions.map(({ parent }: HostileNode) => (parent?.secondary ?? 0) * 256);
    this.#rids = [...functions.map(ridOfNode), ...aliases];
  }

  /** Fills `q`. */
  choose(q: HostileRequest): void {
    const random = this.#random;
    const dice = random.next();
    q.entry = -1;
    q.rid = this.#chooseRid(dice & 0xff);
    q.pasid = ((dice >>> 8) & 0xf) < 11 ? -1 : this.#choosePasid();
    q.privileged = q.pasid >= 0 && random.below(4) === 0;
    const type = (dice >>> 12) & 0x1f;
    q.type = type < 22 ? Type.untranslated : type < 25 ? Type.translationRequest : Type.translated;
    const access = (dice >>> 17) & 0xf;
    q.access = access < 7 ? Access.write : access < 14 ? Access.read : Access.atomic;
    q.pfn = this.#choosePage((dice >>> 21) & 0xff, q.type);
    q.execute = q.pasid >= 0 && q.access === Access.read && random.below(4) === 0;
    q.offset = random.below(4096);
    const most = Math.min(4096 - q.offset, dice >>> 29 === 0 ? 4096 : 32);
    q.length = 1 + random.below(most);
    if (q.access === Access.atomic) {
      q.offset &= ~7;
      q.length = (dice >>> 30) & 1 ? 4 : 8;
    }
    if (q.type === Type.translationRequest) {
      q.access = Access.read;
      q.offset = random.below(2);
      q.length = 8;
    }
    if (random.below(3) === 0) this.#aim(q);
    const { guest } = this.#world;
    if (guest !== undefined && random.below(6) === 0) this.#aimAtGuest(q, guest);
    if (q.pfn >= 0xfee00 && q.pfn <= 0xfeeff && q.pasid < 0) this.#chooseInterrupt(q);
  }

  /** An entry for the guest's tables, or a page by way of them. */
  #aimAtGuest(q: HostileRequest, guest: HostileGuest): void {
    const random = this.#random;
    const { guestPasid, host } = this.#world;
    q.rid = ridOfNode(host.attacker);
    q.type = Type.untranslated;
    q.privileged = q.execute = false;
    q.pasid = guestPasid;
    q.pfn = guest.page(random);
    if (random.below(3) > 0) return;
    q.access = Access.write;
    q.length = 8;
    q.entry = guest.wish(random);
    q.offset = 8 * (random.below(8) === 0 ? 0 : guest.page(random));
    if (random.below(2) === 0) {
      q.pfn = GUEST_TABLE_LAST;
      return;
    }
    q.pasid = -1;
    q.pfn = GUEST_TABLE + (random.below(4) === 0 ? random.below(4) : 3);
  }

  /** At something that is mapped: for the requester named, or for another. */
  #aim(q: HostileRequest): void {
    const random = this.#random;
    const target = this.#world.target(random);
    if (target === undefined || q.type === Type.translated) return;
    const dice = random.below(8);
    if (dice > 0) q.pfn = target.iova;
    if (dice > 1) q.pasid = target.pasid;
    if (dice > 2) q.rid = target.rid;
  }

  #chooseRid(dice: number): number {
    const random = this.#random;
    if (dice < 140) return ridOfNode(this.#world.host.attacker);
    if (dice < 210) return random.pick(this.#rids);
    if (dice < 230) return this.#world.host.attacker.bus * 256 + random.below(256);
    return random.below(0x1_0000);
  }

  #choosePasid(): number {
    const random = this.#random;
    if (random.below(8) === 0) return random.below(0x10_0000);
    return random.below(5) === 0 ? 0 : random.pick(PASIDS);
  }

  #choosePage(dice: number, type: number): number {
    const random = this.#random;
    const { host, iovas, barPages, tableFrames } = this.#world;
    const known = type === Type.translated ? 40 : 150;
    if (dice < known) return random.pick(iovas);
    if (dice < 185) return random.pick(barPages);
    if (dice < 195) return host.mmio.first + random.below(host.mmio.last - host.mmio.first + 40);
    if (dice < 215) return MEMORY_FIRST + random.below(MEMORY_PAGES + 2);
    if (dice < 240) return 0xfee00 + random.below(256);
    if (dice < 246) return random.pick(tableFrames);
    if (dice < 250) return random.below(0x1000);
    return random.next() * 0x10_0000 + random.below(0x10_0000);
  }

  /** Mostly an index that exists, mostly well made. */
  #chooseInterrupt(q: HostileRequest): void {
    const random = this.#random;
    const { interrupts } = this.#world.rows;
    const dice = random.below(16);
    if (dice > 0) q.access = Access.write;
    if (dice > 1) q.length = 4;
    q.offset &= ~3;
    q.length = Math.min(q.length, 4096 - q.offset);
    q.word = random.below(256);
    if (dice < 4) {
      q.word = random.next();
      return;
    }
    const index = random.below(interrupts.length + 1);
    const counts = dice < 8;
    const handle = counts ? Math.max(0, index - 1) : index;
    q.word = counts ? index - handle : q.word;
    const address = ((handle & 0x7fff) << 5) | 0x10 | (counts ? 8 : 0) | ((handle >>> 15) << 2);
    q.pfn = 0xfee00 + (address >>> 12);
    q.offset = address & 0xfff;
  }
}
