/* What tools/avx512.sh boots: a sector that goes from real mode to 64 bits with all vector
 * registers and calls main(), and what main() needs. */

    .section .boot, "ax"
    .code16
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movb $2, %al                /* the 21st address line */
    outb %al, $0x92
    cld
    movw $0x1000, %di           /* three tables: 1 GiB where it is, in pages of 2 MiB */
    xorl %eax, %eax
    movw $0x0c00, %cx
    rep stosl
    movl $0x2003, 0x1000
    movl $0x3003, 0x2000
    movl $0x83, %eax
    movw $0x3000, %di
    movw $512, %cx
1:  movl %eax, (%di)
    addl $0x200000, %eax
    addw $8, %di
    loop 1b
    lgdt gdt_at
    movl $0x1000, %eax
    movl %eax, %cr3
    movl $0x40620, %eax         /* PAE, OSFXSR, OSXMMEXCPT, OSXSAVE */
    movl %eax, %cr4
    movl $0xc0000080, %ecx      /* EFER: long mode */
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl $0x80000013, %eax      /* paging and protection; MP and ET, not EM and TS */
    movl %eax, %cr0
    ljmpl $8, $long_mode

    .code64
long_mode:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $0x2000000, %esp
    xorl %ecx, %ecx
    xorl %edx, %edx
    movl $0xe7, %eax            /* XCR0: x87, SSE, AVX, AVX-512 */
    xsetbv
    movl $main, %eax
    call *%rax
    movw $0x8900, %dx           /* how Bochs is told to end */
    movl $word, %esi
2:  lodsb
    outb %al, %dx
    testb %al, %al
    jnz 2b
    hlt

word: .asciz "Shutdown"
    .balign 8
gdt: .quad 0, 0x00209a0000000000, 0x0000920000000000
gdt_at: .word 23
    .long gdt
    .org 510
    .word 0xaa55

    .text
    .globl memcpy
memcpy:
    movq %rdi, %rax
    movq %rdx, %rcx
    rep movsb
    ret
    .globl memset
memset:
    movq %rdi, %r8
    movl %esi, %eax
    movq %rdx, %rcx
    rep stosb
    movq %r8, %rax
    ret
    .section .note.GNU-stack, "", @progbits
